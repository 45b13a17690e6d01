//! Calls for the log and for texts.

use super::{Call, Field, Group, Kind, Param, REST, call, field, param};

const LINE: &[Param] = &[REST.doc("values, tables with what is in them; apart by spaces in the line")];
const NOTED: &str = "Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each; how many were too many stands before the next.";

const CALLS: &[Call] = &[
    call("mesh.log.debug", LINE, &[], "", "", NOTED),
    call("mesh.log.info", LINE, &[], "", "", NOTED),
    call("mesh.log.warn", LINE, &[], "", "", NOTED),
    call("mesh.log.error", LINE, &[], "", "", NOTED),
    call(
        "mesh.json.encode",
        &[param("value", Kind::Any).doc("plain data")],
        &[],
        "string",
        "",
        "Plain data as JSON. A table with the keys 1 to n is a list, with null where up to half of its places are nil; every other \
         table is an object, and so is an empty one, unless it was read as a list or marked as one. Raises when there is no JSON for it.",
    ),
    call(
        "mesh.json.decode",
        &[param("text", Kind::Text).doc("the JSON, at most 256 KiB")],
        &[],
        "any, mesh.error?",
        "",
        "Reads JSON; nil and an error when it is none. null is nil: what has it is not there. Lists are marked as such.",
    ),
    call(
        "mesh.json.array",
        &[param("table", Kind::Table).of("any[]").doc("the list")],
        &[],
        "any[]",
        "",
        "Marks a table as a list and returns it: it is one in JSON even when it is empty. What is kept in the store loses the mark.",
    ),
    call(
        "mesh.base64.encode",
        &[param("bytes", Kind::Text).doc("any bytes, at most 256 KiB")],
        &[],
        "string",
        "",
        "Bytes as base64 with padding (RFC 4648).",
    ),
    call(
        "mesh.base64.decode",
        &[param("text", Kind::Text).doc("the base64; its padding may be missing")],
        &[],
        "string?, mesh.error?",
        "",
        "Reads base64; nil and an error when it is none.",
    ),
    call(
        "mesh.text.truncate",
        &[param("text", Kind::Text).doc("a text in UTF-8"), param("bytes", Kind::Integer).doc("the largest length")],
        &[],
        "string",
        "",
        "Cuts a text to so many bytes, between characters, with an ellipsis.",
    ),
];

const VALUES: &[Field] = &[field(
    "mesh.json.null",
    "any",
    "null in what `mesh.json.encode` and messages write: a field with it is there, and a list with it keeps its length. The store has nil in its place",
)];

pub(super) const GROUP: Group =
    Group { name: "tools", help: "The log, JSON, base64 and texts.", calls: CALLS, values: VALUES };
