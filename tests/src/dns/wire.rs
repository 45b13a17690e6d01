//! Messages as they travel (RFC 1035, 4).

use super::{Data, Record};

/// Bytes of a message in front of its question.
pub(super) const HEADER: usize = 12;
/// Flag of an answer cut off, in the third byte.
pub(super) const CUT_OFF: u8 = 0x02;

/// An answer to a question, with that response code and those records.
pub fn answer(question: &[u8], code: u8, records: &[Record]) -> Vec<u8> {
    let Some((_, _, end)) = asked(question) else { return Vec::new() };
    let mut out = question.get(..end).unwrap_or_default().to_vec();
    // An answer to what was asked, recursion desired and available.
    put(&mut out, 2, &[0x81, 0x80 | code]);
    put(&mut out, 4, &[0, 1]);
    put(&mut out, 6, &u16::try_from(records.len()).unwrap_or(u16::MAX).to_be_bytes());
    put(&mut out, 8, &[0; 4]);
    records.iter().for_each(|record| write(&mut out, record, 1));
    out
}

/// What nobody has asked for, as multicast DNS announces it (RFC 6762, section 18).
pub fn announcement(records: &[Record]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    put(&mut out, 2, &[0x84]);
    put(&mut out, 6, &u16::try_from(records.len()).unwrap_or(u16::MAX).to_be_bytes());
    for record in records {
        // Of a shared record there may be others; any other one takes the place of what was known.
        let class = if matches!(record.data, Data::Ptr(_)) { 1 } else { 0x8001 };
        write(&mut out, record, class);
    }
    out
}

/// The name and the type that a message asks for, and where its question ends.
pub(super) fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (HEADER, Vec::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn write(out: &mut Vec<u8>, record: &Record, class: u16) {
    name(out, &record.name);
    out.extend_from_slice(&record.data.kind().to_be_bytes());
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&record.ttl.to_be_bytes());
    let data = data(&record.data);
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&data);
}

fn data(data: &Data) -> Vec<u8> {
    let mut out = Vec::new();
    match data {
        Data::A(address) => out.extend_from_slice(&address.octets()),
        Data::Aaaa(address) => out.extend_from_slice(&address.octets()),
        Data::Ptr(other) => name(&mut out, other),
        Data::Txt(strings) => strings.iter().for_each(|string| text(&mut out, string)),
        Data::Srv { priority, weight, port, target } => {
            [priority, weight, port].into_iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
            name(&mut out, target);
        }
    }
    out
}

fn name(out: &mut Vec<u8>, name: &str) {
    name.split('.').filter(|label| !label.is_empty()).for_each(|label| text(out, label));
    out.push(0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}
