//! Calls for the log and for texts.

use super::{Call, Group, Kind, Param, REST, call, param};

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
        "Plain data as JSON. Raises when there is no JSON for it.",
    ),
    call(
        "mesh.json.decode",
        &[param("text", Kind::Text).doc("the JSON, at most 256 KiB")],
        &[],
        "any, mesh.error?",
        "",
        "Reads JSON; nil and an error when it is none.",
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

pub(super) const GROUP: Group =
    Group { name: "tools", help: "The log, JSON, base64 and texts.", calls: CALLS, values: &[] };
