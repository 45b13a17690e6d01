//! Frames that a trial sends: what is in them can be checked at the other end, and what becomes of their memory too.
#![allow(unsafe_code, reason = "lends memory to a plugin under trial, and watches what it does with it")]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use super::random::Random;
use crate::abi::{Buf, Frame, frame_flags};
use crate::sdk::frames::COPY_LIMIT;

/// What borrowed bytes are overwritten with once the call is over.
const SPOILED: u8 = 0xee;
/// What given bytes are overwritten with once they were released.
const RELEASED: u8 = 0xdd;
/// Bytes of a parcel that say which it is.
const HEAD: usize = 8;

/// The bytes of parcel `number` with `len` bytes, at least 8.
pub(super) fn parcel(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = Random::new(number).bytes(len.max(HEAD));
    if let Some(head) = bytes.first_chunk_mut::<HEAD>() {
        *head = number.to_le_bytes();
    }
    bytes
}

/// The number of a parcel that arrived whole, or what is wrong with it.
pub(super) fn number(bytes: &[u8]) -> Result<u64, String> {
    let head =
        bytes.first_chunk::<HEAD>().ok_or_else(|| format!("a frame of {} bytes that nobody sent", bytes.len()))?;
    let number = u64::from_le_bytes(*head);
    if parcel(number, bytes.len()) == bytes {
        return Ok(number);
    }
    let what = match bytes.last() {
        Some(&SPOILED) => "bytes that were only borrowed for the call of send, and are overwritten now",
        Some(&RELEASED) => "bytes that were released already",
        _ => "other bytes than were sent",
    };
    Err(format!("a frame of {} bytes arrived with {what}", bytes.len()))
}

/// How a frame's bytes are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// As the rules say: small ones borrowed, large ones given.
    Rules,
    /// Given with a release, however small.
    Given,
    /// Borrowed, however large.
    Borrowed,
}

/// Bytes that a plugin may own. Never freed, so that a second release can be counted.
struct Given {
    bytes: Vec<u8>,
    releases: AtomicU32,
}

/// Frames for one call of `send`.
pub(super) struct Loan {
    frames: Vec<Frame>,
    borrowed: Vec<Vec<u8>>,
    given: Vec<&'static Given>,
    /// For each frame, its place among those given.
    places: Vec<Option<usize>>,
}

// SAFETY: the pointers in the frames are to memory that the loan holds.
unsafe impl Send for Loan {}

impl Loan {
    pub(super) fn new(link: u64, parcels: Vec<Vec<u8>>, offer: Offer) -> Self {
        let mut loan = Self { frames: Vec::new(), borrowed: Vec::new(), given: Vec::new(), places: Vec::new() };
        for bytes in parcels {
            loan.add(link, bytes, offer);
        }
        loan
    }

    fn add(&mut self, link: u64, mut bytes: Vec<u8>, offer: Offer) {
        let lend = match offer {
            Offer::Rules => bytes.len() <= COPY_LIMIT,
            Offer::Given => false,
            Offer::Borrowed => true,
        };
        let (flags, buf) = if lend {
            let buf = Buf { data: bytes.as_mut_ptr(), len: bytes.len(), owner: std::ptr::null_mut(), release: None };
            self.borrowed.push(bytes);
            self.places.push(None);
            (frame_flags::BORROWED, buf)
        } else {
            let given: &'static Given = Box::leak(Box::new(Given { bytes, releases: AtomicU32::new(0) }));
            self.places.push(Some(self.given.len()));
            self.given.push(given);
            let owner = std::ptr::from_ref(given).cast_mut().cast();
            (0, Buf { data: given.bytes.as_ptr(), len: given.bytes.len(), owner, release: Some(release) })
        };
        self.frames.push(Frame { link, flags, rsvd: 0, buf, meta: [0; 2] });
    }

    pub(super) fn frames(&self) -> (*const Frame, usize) {
        (self.frames.as_ptr(), self.frames.len())
    }

    /// The call is over, and `taken` frames are the plugin's: what was borrowed is spoiled.
    pub(super) fn settle(&mut self, taken: usize) {
        for bytes in &mut self.borrowed {
            bytes.fill(SPOILED);
        }
        let kept = self.places.iter().skip(taken).flatten();
        for given in kept.filter_map(|place| self.given.get(*place)) {
            // Not taken, so it is still ours: one release of the plugin would be one too many.
            given.releases.fetch_add(NOT_TAKEN, Ordering::SeqCst);
        }
    }

    /// What is wrong with the releases, once the plugin is gone.
    pub(super) fn wrong_releases(&self) -> Option<String> {
        self.given.iter().find_map(|given| match given.releases.load(Ordering::SeqCst) {
            1 | NOT_TAKEN => None,
            0 => Some(format!("a frame of {} bytes that was taken was never released", given.bytes.len())),
            n if n > NOT_TAKEN => Some("a frame that was not taken was released: it belongs to the host".to_owned()),
            n => Some(format!("a frame of {} bytes was released {n} times", given.bytes.len())),
        })
    }
}

/// Marks a frame that the plugin didn't take.
const NOT_TAKEN: u32 = 1 << 16;

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `add` made the owner from a leaked `Given`.
    let Some(given) = (unsafe { owner.cast::<Given>().as_ref() }) else { return };
    if given.releases.fetch_add(1, Ordering::SeqCst) == 0 {
        // SAFETY: released, so nobody may read the bytes any more; volatile, since the loan never reads them again.
        unsafe {
            let at = given.bytes.as_ptr().cast_mut();
            for place in 0..given.bytes.len() {
                at.add(place).write_volatile(RELEASED);
            }
        }
    }
}
