//! Messages of the DNS (RFC 1035, 4), as far as services and their hosts need them.

use std::fmt;
use std::net::IpAddr;

use qpq_quic_common::HostPort;

use crate::address::domain_of;

/// Records of an answer that are looked at, at most.
const MAX_RECORDS: usize = 64;
/// Labels and jumps of one name, at most (RFC 1035, 4.1.4: names may jump back).
const MAX_STEPS: usize = 128;

/// Bytes of a message in front of its question.
const HEADER: usize = 12;
/// In the third byte of a message: it is an answer.
const IS_ANSWER: u8 = 0x80;
/// In the third byte: it was too long for the way that it took.
const CUT_OFF: u8 = 0x02;
/// Response codes: all is well, and there is no such name.
const NO_ERROR: u8 = 0;
const NO_NAME: u8 = 3;
/// Types of records: an IPv4 address, an IPv6 address, and where a service is.
pub(crate) const TYPE_A: u16 = 1;
pub(crate) const TYPE_AAAA: u16 = 28;
pub(crate) const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These records, or that there are none.
    Records(Vec<Record>),
    /// More than fits into a packet.
    CutOff,
    /// That it can't say.
    Trouble(Trouble),
}

/// A response code that is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble(u8);

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Where a service is.
    Service(Service),
    /// Where a host is.
    Host(IpAddr),
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The lowest is tried first.
    pub(crate) priority: u16,
    /// The chance to be tried first among equals.
    pub(crate) weight: u16,
    /// Where it is; `None` where the record says that there is no such service.
    pub(crate) address: Option<HostPort>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            2 => f.write_str("SERVFAIL"),
            5 => f.write_str("REFUSED"),
            code => write!(f, "response code {code}"),
        }
    }
}

/// A question for the records of a name; `None` when it gets too long.
pub(crate) fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut out = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() > HEADER + 255 {
        return None;
    }
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// Reads the answer to that question; `None` when it is no such answer.
pub(crate) fn parse(answer: &[u8], question: &[u8]) -> Option<Answer> {
    let asked = question.get(HEADER..)?;
    let flags = *answer.get(2)?;
    let is_answer = answer.get(..2)? == question.get(..2)? && flags & IS_ANSWER != 0 && number(answer, 4)? == 1;
    let same = answer.get(HEADER..HEADER + asked.len()).is_some_and(|given| given.eq_ignore_ascii_case(asked));
    if !is_answer || !same {
        return None;
    }
    match *answer.get(3)? & 0x0f {
        _ if flags & CUT_OFF != 0 => Some(Answer::CutOff),
        NO_ERROR => records(answer, HEADER + asked.len()).map(Answer::Records),
        NO_NAME => Some(Answer::Records(Vec::new())),
        code => Some(Answer::Trouble(Trouble(code))),
    }
}

/// The records of an answer, which begin at that byte.
fn records(answer: &[u8], mut at: usize) -> Option<Vec<Record>> {
    let mut found = Vec::new();
    for _ in 0..usize::from(number(answer, 6)?).min(MAX_RECORDS) {
        at = skip_name(answer, at)?;
        let (kind, class, len) = (number(answer, at)?, number(answer, at + 2)?, usize::from(number(answer, at + 8)?));
        let data = at + 10;
        at = data + len;
        let message = answer.get(..at)?;
        match (class, kind) {
            (CLASS_IN, TYPE_SRV) => found.extend(service(message, data)?.map(Record::Service)),
            (CLASS_IN, TYPE_A) => found.push(Record::Host(<[u8; 4]>::try_from(message.get(data..)?).ok()?.into())),
            (CLASS_IN, TYPE_AAAA) => found.push(Record::Host(<[u8; 16]>::try_from(message.get(data..)?).ok()?.into())),
            _ => {}
        }
    }
    Some(found)
}

/// The record whose data begins at that byte and ends with the message, where it says something of use.
fn service(message: &[u8], at: usize) -> Option<Option<Service>> {
    let (priority, weight, port) = (number(message, at)?, number(message, at + 2)?, number(message, at + 4)?);
    let host = name(message, at + 6);
    // A dot alone says that there is no such service.
    let nowhere = host.as_ref().is_some_and(String::is_empty);
    let address = host.filter(|_| port != 0).and_then(|host| domain_of(&host).ok()).map(|host| HostPort { host, port });
    Some((nowhere || address.is_some()).then_some(Service { priority, weight, address }))
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..MAX_STEPS {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..64 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

fn name(message: &[u8], mut at: usize) -> Option<String> {
    let mut labels = Vec::new();
    for _ in 0..MAX_STEPS {
        match *message.get(at)? {
            0 => return Some(labels.join(".")),
            len @ 1..64 => {
                let end = at + 1 + usize::from(len);
                labels.push(std::str::from_utf8(message.get(at + 1..end)?).ok()?.to_owned());
                at = end;
            }
            high @ 0xc0.. => at = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer with those records: priority, weight, port, host.
    pub(in super::super) fn answer(question: &[u8], records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2] = 0x81;
        out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (priority, weight, port, host) in records {
            out.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0xff, 0xff, 0xff, 0xff]);
            let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
            for label in host.split('.').filter(|label| !label.is_empty()) {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        out
    }

    fn services(domain: &str) -> Vec<u8> {
        question(7, domain, TYPE_SRV).unwrap()
    }

    fn found(answer: &[u8], question: &[u8]) -> Option<Vec<(u16, Option<HostPort>)>> {
        let one = |record| match record {
            Record::Service(service) => (service.priority, service.address),
            Record::Host(host) => panic!("{host}"),
        };
        match parse(answer, question)? {
            Answer::Records(all) => Some(all.into_iter().map(one).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_of_hosts_are_read_and_those_of_another_length_are_none() {
        let asked = question(7, "h.b.example", TYPE_A).unwrap();
        let with = |kind: u8, data: &[u8]| {
            let mut answer = answer(&asked, &[]);
            answer[7] = 1;
            answer.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
            parse(&[&answer, data].concat(), &asked)
        };
        let host = |address: &str| Some(Answer::Records(vec![Record::Host(address.parse().unwrap())]));
        assert_eq!(with(1, &[10, 0, 0, 1]), host("10.0.0.1"));
        assert_eq!(with(28, &[0xfd; 16]), host("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"));
        assert_eq!(with(5, &[0xc0, 12]), Some(Answer::Records(Vec::new())), "another name");
        for (kind, len) in [(1, 3), (1, 5), (28, 4), (28, 0)] {
            assert_eq!(with(kind, &vec![1; len]), None);
        }
    }

    #[test]
    fn records_are_read_and_a_dot_is_nowhere() {
        let question = services("b.example");
        let records = [(20, 0, 1, "C.b.example"), (0, 0, 4, ""), (1, 1, 0, "no.port"), (1, 1, 1, "no host")];
        let address = HostPort { host: "c.b.example".to_owned(), port: 1 };
        assert_eq!(found(&answer(&question, &records), &question), Some(vec![(20, Some(address)), (0, None)]));
    }

    #[test]
    fn answers_to_other_questions_are_not_heard() {
        let asked = services("b.example");
        let good = answer(&asked, &[(0, 0, 1, "h.b.example")]);
        assert!(parse(&good, &asked).is_some());
        assert!(parse(&good, &question(8, "b.example", TYPE_SRV).unwrap()).is_none());
        assert!(parse(&good, &services("c.example")).is_none());
        assert!(parse(&asked, &asked).is_none(), "a question is no answer");
    }

    /// A server in trouble once counted as one that says that there are no records.
    #[test]
    fn a_server_in_trouble_says_nothing_of_the_domain() {
        let asked = services("b.example");
        let with = |flags: [u8; 2]| {
            let mut answer = answer(&asked, &[]);
            answer[2..4].copy_from_slice(&flags);
            parse(&answer, &asked).unwrap()
        };
        assert_eq!(with([0x81, 0x80]), Answer::Records(Vec::new()));
        assert_eq!(with([0x81, 0x83]), Answer::Records(Vec::new()), "NXDOMAIN is an answer");
        assert_eq!(with([0x81, 0x82]), Answer::Trouble(Trouble(2)));
        assert_eq!(with([0x81, 0x85]), Answer::Trouble(Trouble(5)));
        assert_eq!(with([0x83, 0x80]), Answer::CutOff);
    }

    #[test]
    fn damaged_answers_and_endless_names_harm_nobody() {
        let asked = services("b.example");
        let good = answer(&asked, &[(0, 0, 1, "h.b.example"), (1, 1, 2, "i.b.example")]);
        for len in 0..good.len() {
            let _ = parse(&good[..len], &asked);
        }
        for place in 0..good.len() {
            for value in [0, 0xc0, 0xff, good[place] ^ 1] {
                let mut damaged = good.clone();
                damaged[place] = value;
                let _ = parse(&damaged, &asked);
            }
        }
        assert_eq!(name(&[0xc0, 0], 0), None);
        assert_eq!(name(&[1, b'a', 0xc0, 0], 0), None);
    }

    #[test]
    fn of_thousands_of_records_few_are_looked_at() {
        let asked = services("b.example");
        let many: Vec<_> = (0..2_000).map(|port| (0, 0, port + 1, "h.b.example")).collect();
        assert_eq!(found(&answer(&asked, &many), &asked).map(|all| all.len()), Some(MAX_RECORDS));
    }
}
