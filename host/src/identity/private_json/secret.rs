//! Secrets on their way into and out of JSON, without copies left in freed memory.

use std::fmt;
use std::io;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// 32 secret bytes, in files as 64 hexadecimal digits. Wiped when dropped; has no `Debug`.
pub(crate) struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? * 16 + digit(*low)?;
        }
        Some(Self(bytes))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = Zeroizing::new([0; 64]);
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.iter()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        serializer.serialize_str(std::str::from_utf8(text.as_slice()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Seed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Seed, E> {
                // No word about what stood there instead: it may be the secret with one digit too many.
                Seed::from_hex(text).ok_or_else(|| E::custom("expected 64 hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// A file's content with a secret in it. Wiped when dropped, also where it had to grow; has no `Debug`.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A value as indented JSON with a newline at the end.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        let mut secret = Self(Zeroizing::new(Vec::with_capacity(4096)));
        // Neither can fail: the writer takes everything, and the values have text for keys.
        let written = serde_json::to_writer_pretty(&mut secret, value);
        debug_assert!(written.is_ok());
        secret.append(b"\n");
        secret
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn append(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * needed));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl io::Write for Secret {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
