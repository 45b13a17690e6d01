use std::fmt;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::base32;
use super::key::ChannelKey;
use super::name::NameError;
use crate::wire::Reader;

/// What every invite begins with.
const PREFIX: &str = "qpqinvite";
/// The version in the first byte.
const VERSION: u8 = 1;
/// Goes in front of the bytes that the checksum covers.
const CHECKSUM_DOMAIN: &[u8] = b"qpq-invite-v1\0";
const CHECKSUM_LEN: usize = 4;
/// Longest text that is read as an invite, in bytes. The longest invite has 177.
pub const MAX_INVITE_TEXT: usize = 512;

/// Why a text is no invite. Most often it was copied in part, or mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteError {
    /// It doesn't begin as an invite does.
    NoInvite,
    /// A character that no invite holds.
    Character(char),
    /// Too long, or cut off.
    Length,
    /// The checksum doesn't fit: a character is wrong, missing or swapped.
    Checksum,
    /// A version that this node doesn't know.
    Version(u8),
    /// The name in it breaks the rules.
    Name(NameError),
    /// The name in it is no UTF-8, or isn't in its normal form.
    NameForm,
}

impl InviteError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoInvite => "invite-prefix",
            Self::Character(_) => "invite-character",
            Self::Length => "invite-length",
            Self::Checksum => "invite-checksum",
            Self::Version(_) => "invite-version",
            Self::Name(_) | Self::NameForm => "invite-name",
        }
    }
}

impl fmt::Display for InviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInvite => write!(f, "an invite begins with \"{PREFIX}\""),
            Self::Character(c) => write!(f, "the invite holds {c:?}, which no invite does: copy it again"),
            Self::Length => write!(f, "the invite is cut off or too long: copy it again"),
            Self::Checksum => write!(f, "the invite's checksum does not fit: a character is wrong or missing"),
            Self::Version(version) => write!(f, "the invite has version {version}: update this node"),
            Self::Name(error) => write!(f, "the invite's channel name is bad: {error}"),
            Self::NameForm => write!(f, "the invite's channel name is not in its normal form"),
        }
    }
}

impl std::error::Error for InviteError {}

impl ChannelKey {
    /// The invite: text that holds the channel's name and key. Whoever has it can read the channel, so it is a secret.
    pub fn invite(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.epoch().to_be_bytes());
        bytes.extend_from_slice(self.secret().as_ref());
        bytes.extend_from_slice(self.name().as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(base32::encode(&bytes))))
    }

    /// Reads an invite. Blanks, line breaks and hyphens in it don't matter, nor does case.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn from_invite(text: &str) -> Result<Self, InviteError> {
        if text.len() > MAX_INVITE_TEXT {
            return Err(InviteError::Length);
        }
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-').collect());
        let (prefix, rest) = text.split_at_checked(PREFIX.len()).ok_or(InviteError::NoInvite)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(InviteError::NoInvite);
        }
        let bytes = base32::decode(rest.chars()).map_err(|c| c.map_or(InviteError::Length, InviteError::Character))?;
        parse(&Zeroizing::new(bytes))
    }
}

fn parse(bytes: &[u8]) -> Result<ChannelKey, InviteError> {
    let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(InviteError::Length)?;
    if checksum(bytes) != *sum {
        return Err(InviteError::Checksum);
    }
    let mut reader = Reader::new(bytes);
    match reader.u8().ok_or(InviteError::Length)? {
        VERSION => {}
        version => return Err(InviteError::Version(version)),
    }
    let epoch = reader.u32().ok_or(InviteError::Length)?;
    let secret = Zeroizing::new(reader.array::<32>().ok_or(InviteError::Length)?);
    let name = std::str::from_utf8(reader.rest()).map_err(|_| InviteError::NameForm)?;
    let key = ChannelKey::from_parts(name, &secret, epoch).map_err(InviteError::Name)?;
    if key.name() == name { Ok(key) } else { Err(InviteError::NameForm) }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hash = Sha256::new();
    hash.update(CHECKSUM_DOMAIN);
    hash.update(bytes);
    let hash: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|i| hash[i])
}

/// An invite as a QR code for a dark terminal, two modules a character; `None` when the text is too long for one.
///
/// The text is written in capitals, for which a QR code has a form that takes a third less room.
pub fn qr(invite: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(invite.to_ascii_uppercase(), EcLevel::M).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
