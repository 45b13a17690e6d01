//! Base 32 that survives being read aloud: no `i`, `l`, `o` or `u`; on reading, case doesn't matter,
//! `i` and `l` count as `1`, `o` as `0`.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Five bits a character, the last one filled up with zeros.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(symbol(buffer >> bits));
        }
    }
    if bits > 0 {
        out.push(symbol(buffer << (5 - bits)));
    }
    out
}

fn symbol(value: u32) -> char {
    ALPHABET[(value & 31) as usize] as char
}

/// `Err` holds the character that isn't in the alphabet; `None` stands for a wrong number of characters or filling bits that aren't zero.
pub(crate) fn decode(text: impl Iterator<Item = char>) -> Result<Vec<u8>, Option<char>> {
    let mut out = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for c in text {
        buffer = (buffer << 5 | value(c).ok_or(Some(c))?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((buffer >> bits) as u8);
        }
    }
    let filling = buffer & ((1 << bits) - 1);
    if bits >= 5 || filling != 0 { Err(None) } else { Ok(out) }
}

fn value(c: char) -> Option<u32> {
    let c = match c.to_ascii_lowercase() {
        'i' | 'l' => '1',
        'o' => '0',
        c => c,
    };
    ALPHABET.iter().position(|symbol| *symbol as char == c).and_then(|at| u32::try_from(at).ok())
}
