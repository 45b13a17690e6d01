//! Control frames: a magic byte and a version, then messages without padding. Numbers are LEB128 where not said otherwise.
//!
//! | message | first byte | body |
//! |---|---|---|
//! | HELLO | 1 | instance of the sender (8 bytes), instance of the receiver as the sender knows it (8, 0: it doesn't), flags (1): 1 the whole table is wanted, 2 it is the first frame of a further link, 4 the receiver's instance took over on a link that was up; age of the sender, or of the eldest that it heard of, in milliseconds |
//! | BEGIN | 2 | – the whole table follows |
//! | END | 3 | – what wasn't told since BEGIN is retracted |
//! | DIGEST | 4 | sum over all that the receiver was told (8) |
//! | RETRACTION | 5 | number |
//! | WAY | 16 + flags | number, sequence number, metric, hops (1), key, record |
//! | REQUEST | 32 + flags | number, sequence number, hops left (1), key, record |
//!
//! A destination's number is the sender's own, at most 65,000; what key it stands for is told once (flag 1, 32 bytes). A record (flag 2) is the
//! origin's newest: how far its sequence number lies above the message's, its end (4 bytes), its signature (64).

use crate::limits::{MAX_FRAME, MAX_ROW};
use crate::record::{Key, Record};
use crate::table::{RowId, Told};

/// The first byte of each frame, so that another protocol's frames are told apart.
pub const MAGIC: u8 = 0xba;
/// The second byte. A frame of another version is ignored.
pub const VERSION: u8 = 1;

const HELLO: u8 = 1;
const BEGIN: u8 = 2;
const END: u8 = 3;
const DIGEST: u8 = 4;
const RETRACTION: u8 = 5;
const WAY: u8 = 16;
const REQUEST: u8 = 32;
const WITH_KEY: u8 = 1;
const WITH_RECORD: u8 = 2;
const FLAGS: u8 = WITH_KEY | WITH_RECORD;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 160;

/// Which destination a message is about, and what is proved of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The sender's number for it.
    pub number: RowId,
    /// Its key, when it wasn't told before.
    pub key: Option<Key>,
    /// The origin's newest record, when the receiver may lack it.
    pub record: Option<Record>,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Who is there.
    Hello {
        /// A random number of the sender's present life.
        instance: u64,
        /// The receiver's, as the sender knows it; 0 when it doesn't.
        yours: u64,
        /// Whether the whole table is wanted.
        want: bool,
        /// Whether this is the first frame of a link beside others.
        further: bool,
        /// Whether the receiver's present instance took over from another on a link that was up.
        swapped: bool,
        /// The age of the sender, or of the eldest that it heard of, in milliseconds.
        age_ms: u64,
    },
    /// The whole table follows.
    Begin,
    /// That was the whole table.
    End,
    /// The sum over all that the receiver was told.
    Digest(u64),
    /// The sender has no way there any more, or none that the receiver may use.
    Retraction(RowId),
    /// The sender has a way.
    Way(About, Told),
    /// Somebody needs a sequence number.
    Request {
        /// Whose.
        about: About,
        /// At least this one.
        seqno: u64,
        /// Links that the request may still cross.
        ttl: u8,
    },
}

/// Frames are collected here, each as full as it gets.
#[derive(Debug, Default)]
pub struct Writer {
    frames: Vec<Vec<u8>>,
}

impl Writer {
    /// The frames, in order.
    pub fn frames(self) -> Vec<Vec<u8>> {
        self.frames
    }

    /// Appends a message.
    pub fn push(&mut self, message: &Message) {
        if self.frames.last().is_none_or(|frame| frame.len() + MAX_MESSAGE > MAX_FRAME) {
            self.frames.push(vec![MAGIC, VERSION]);
        }
        if let Some(frame) = self.frames.last_mut() {
            write(frame, message);
        }
    }
}

fn write(out: &mut Vec<u8>, message: &Message) {
    match message {
        Message::Hello { instance, yours, want, further, swapped, age_ms } => {
            out.push(HELLO);
            out.extend(instance.to_be_bytes());
            out.extend(yours.to_be_bytes());
            let flags = [*want, *further, *swapped];
            out.push(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
            write_number(out, *age_ms);
        }
        Message::Begin => out.push(BEGIN),
        Message::End => out.push(END),
        Message::Digest(sum) => {
            out.push(DIGEST);
            out.extend(sum.to_be_bytes());
        }
        Message::Retraction(number) => {
            out.push(RETRACTION);
            write_number(out, u64::from(*number));
        }
        Message::Way(about, told) => {
            write_about(out, WAY, about, told.seqno);
            write_number(out, u64::from(told.metric));
            out.push(told.hops);
            write_proof(out, about, told.seqno);
        }
        Message::Request { about, seqno, ttl } => {
            write_about(out, REQUEST, about, *seqno);
            out.push(*ttl);
            write_proof(out, about, *seqno);
        }
    }
}

fn write_about(out: &mut Vec<u8>, tag: u8, about: &About, seqno: u64) {
    let key = if about.key.is_some() { WITH_KEY } else { 0 };
    let record = if about.record.is_some() { WITH_RECORD } else { 0 };
    out.push(tag | key | record);
    write_number(out, u64::from(about.number));
    write_number(out, seqno);
}

fn write_proof(out: &mut Vec<u8>, about: &About, seqno: u64) {
    out.extend(about.key.iter().flatten());
    if let Some(record) = &about.record {
        write_number(out, zigzag(record.seqno.wrapping_sub(seqno)));
        out.extend(record.not_after.to_be_bytes());
        out.extend(record.signature);
    }
}

/// LEB128.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A difference that may be negative, so that small ones of either sign are short.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64 >> 63) as u64)
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Why the rest of a frame is not read. The neighbour is at fault, or speaks another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// Another magic or version: a neighbour with another routing protocol, or a newer one of this. Nothing to mend.
    Foreign,
    /// It ends too early, has an unknown message or a number out of range.
    Malformed,
}

/// Reads the messages of a frame, one by one; after an error nothing more.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the head of a frame.
    ///
    /// # Errors
    /// [`FrameError::Foreign`] when it is of another protocol or version.
    pub fn new(frame: &'a [u8]) -> Result<Self, FrameError> {
        match frame {
            [MAGIC, VERSION, rest @ ..] => Ok(Self { rest }),
            _ => Err(FrameError::Foreign),
        }
    }

    fn message(&mut self) -> Result<Message, FrameError> {
        Ok(match self.byte()? {
            HELLO => {
                let (instance, yours) = (u64::from_be_bytes(self.bytes()?), u64::from_be_bytes(self.bytes()?));
                let flags = self.byte()?;
                let [want, further, swapped] = [0, 1, 2].map(|bit| flags >> bit & 1 != 0);
                Message::Hello { instance, yours, want, further, swapped, age_ms: self.number()? }
            }
            BEGIN => Message::Begin,
            END => Message::End,
            DIGEST => Message::Digest(u64::from_be_bytes(self.bytes()?)),
            RETRACTION => Message::Retraction(self.row()?),
            tag if tag & !FLAGS == WAY => {
                let (number, seqno) = (self.row()?, self.number()?);
                let metric = u32::try_from(self.number()?).map_err(|_| FrameError::Malformed)?;
                let hops = self.byte()?;
                Message::Way(self.about(tag, number, seqno)?, Told { seqno, metric, hops })
            }
            tag if tag & !FLAGS == REQUEST => {
                let (number, seqno) = (self.row()?, self.number()?);
                let ttl = self.byte()?;
                Message::Request { about: self.about(tag, number, seqno)?, seqno, ttl }
            }
            _ => return Err(FrameError::Malformed),
        })
    }

    fn about(&mut self, tag: u8, number: RowId, seqno: u64) -> Result<About, FrameError> {
        let key = if tag & WITH_KEY != 0 { Some(self.bytes()?) } else { None };
        let record = if tag & WITH_RECORD != 0 { Some(self.record(seqno)?) } else { None };
        Ok(About { number, key, record })
    }

    fn record(&mut self, seqno: u64) -> Result<Record, FrameError> {
        let seqno = seqno.wrapping_add(unzigzag(self.number()?));
        let not_after = u32::from_be_bytes(self.bytes()?);
        Ok(Record { seqno, not_after, signature: self.bytes()? })
    }

    fn row(&mut self) -> Result<RowId, FrameError> {
        let number = self.number()?;
        RowId::try_from(number).ok().filter(|row| *row <= MAX_ROW).ok_or(FrameError::Malformed)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return Err(FrameError::Malformed);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(FrameError::Malformed)
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.bytes().map(|[byte]| byte)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Message, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.message();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests;
