//! A look at a library's ELF headers before the system's loader sees it: `dlopen` says "file too short" or "invalid
//! header" where an admin needs to hear what is wrong, and a truncated file can be mapped and crash later (SIGBUS).
//! Layout: System V ABI, "Object Files".

use super::error::Problem;

const CLASS64: u8 = 2;
const BIG_ENDIAN: u8 = 2;
const SHARED_OBJECT: u16 = 3;
const PT_LOAD: u32 = 1;

/// Where the bytes of a library are.
pub(crate) trait Source {
    /// How many there are.
    fn size(&self) -> u64;
    /// Those from `at` on, as many as there is room for; nothing when there are fewer.
    fn read(&self, at: u64, into: &mut [u8]) -> Option<()>;
}

/// Refuses what is no shared library of this machine, or is cut off.
pub(crate) fn check(bytes: &impl Source) -> Result<(), Problem> {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        return Ok(());
    }
    let mut begin = [0; 4];
    let begin = bytes.read(0, &mut begin).map(|()| begin);
    if begin != Some(*b"\x7fELF") {
        return Err(Problem::NotALibrary(describe(bytes.size(), begin)));
    }
    Elf::parse(bytes)
        .ok_or_else(|| Problem::Truncated(format!("{} bytes, less than an ELF header", bytes.size())))?
        .check()
}

fn describe(size: u64, begin: Option<[u8; 4]>) -> String {
    match begin {
        None => format!("a file of {size} bytes"),
        Some(begin) if begin.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            "a file that begins like text".to_owned()
        }
        Some(begin) => format!("a file that begins with {begin:02x?}"),
    }
}

/// The fields of the header that matter here.
struct Elf<'a, S> {
    reader: Reader<'a, S>,
    kind: u16,
    machine: u16,
    program_headers: (u64, u16, u16),
    section_headers: (u64, u16, u16),
}

impl<'a, S: Source> Elf<'a, S> {
    fn parse(bytes: &'a S) -> Option<Self> {
        let mut form = [0; 2];
        bytes.read(4, &mut form)?;
        let [class, order] = form;
        let reader = Reader { bytes, wide: class == CLASS64, big_endian: order == BIG_ENDIAN };
        // Offsets of the fields for 64 and 32 bits.
        let at = |wide, narrow| if reader.wide { wide } else { narrow };
        Some(Self {
            kind: reader.half(16)?,
            machine: reader.half(18)?,
            program_headers: (reader.word(at(32, 28))?, reader.half(at(54, 42))?, reader.half(at(56, 44))?),
            section_headers: (reader.word(at(40, 32))?, reader.half(at(58, 46))?, reader.half(at(60, 48))?),
            reader,
        })
    }

    fn check(&self) -> Result<(), Problem> {
        let (found, wanted) = (self.machine_name(), own_machine());
        if found != wanted {
            return Err(Problem::OtherMachine(found, wanted));
        }
        if self.kind != SHARED_OBJECT {
            return Err(Problem::NotALibrary(format!("an ELF file of type {}, not a shared library", self.kind)));
        }
        let size = self.reader.bytes.size();
        match self.end() {
            Some(end) if end <= size => Ok(()),
            end => {
                let needed = end.map_or_else(|| "more".to_owned(), |end| format!("{end} bytes"));
                Err(Problem::Truncated(format!("{size} bytes where the headers speak of {needed}")))
            }
        }
    }

    /// Where the last thing that the headers speak of ends. `None` when a header is cut off or its numbers overflow.
    fn end(&self) -> Option<u64> {
        let table_end = |(offset, size, count): (u64, u16, u16)| offset.checked_add(u64::from(size) * u64::from(count));
        let mut end = table_end(self.program_headers)?.max(table_end(self.section_headers)?);
        let (offset, size, count) = self.program_headers;
        for n in 0..u64::from(count) {
            let header = offset.checked_add(n * u64::from(size))?;
            if self.reader.full(header)? != PT_LOAD {
                continue;
            }
            let (from, length) = if self.reader.wide { (8, 32) } else { (4, 16) };
            let segment = self.reader.word(header.checked_add(from)?)?;
            end = end.max(segment.checked_add(self.reader.word(header.checked_add(length)?)?)?);
        }
        Some(end)
    }

    fn machine_name(&self) -> String {
        name(self.machine, self.reader.wide, self.reader.big_endian)
    }
}

/// The machine that this program was built for.
fn own_machine() -> String {
    let number = match std::env::consts::ARCH {
        "x86_64" => 62,
        "x86" => 3,
        "aarch64" => 183,
        "arm" => 40,
        "mips" | "mips64" => 8,
        "riscv64" | "riscv32" => 243,
        "powerpc" => 20,
        "powerpc64" => 21,
        "s390x" => 22,
        "loongarch64" => 258,
        _ => 0,
    };
    name(number, cfg!(target_pointer_width = "64"), cfg!(target_endian = "big"))
}

fn name(machine: u16, wide: bool, big_endian: bool) -> String {
    let family = match machine {
        3 => "x86",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "PowerPC 64",
        22 => "s390",
        40 => "ARM",
        62 => "x86-64",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "",
    };
    let bits = if wide { "64 bits" } else { "32 bits" };
    let order = if big_endian { "big-endian" } else { "little-endian" };
    if family.is_empty() { format!("machine {machine}, {bits}, {order}") } else { format!("{family}, {bits}, {order}") }
}

/// Reads numbers of a file in its own byte order, never past its end.
struct Reader<'a, S> {
    bytes: &'a S,
    wide: bool,
    big_endian: bool,
}

impl<S: Source> Reader<'_, S> {
    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut array = [0; N];
        self.bytes.read(at, &mut array).map(|()| array)
    }

    fn half(&self, at: u64) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn full(&self, at: u64) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// An address or offset: 8 bytes in 64-bit files, 4 in others.
    fn word(&self, at: u64) -> Option<u64> {
        if !self.wide {
            return self.full(at).map(u64::from);
        }
        let bytes = self.array(at)?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

#[cfg(any(test, feature = "fuzz-doors"))]
impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Option<()> {
        let at = usize::try_from(at).ok()?;
        into.copy_from_slice(self.get(at..at.checked_add(into.len())?)?);
        Some(())
    }
}

/// Looks at the headers of a library in memory. Returns what is wrong with it, if anything.
#[cfg(feature = "fuzz-doors")]
pub fn look_at_library(bytes: &[u8]) -> Option<String> {
    check(&bytes.to_vec()).err().map(|problem| format!("{problem:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_a_real_library_is_refused_and_none_panics() {
        // The test program itself is position-independent, so its headers are those of a shared library.
        let whole = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        assert_eq!(check(&whole), Ok(()));
        for cut in (0..200).chain([whole.len() / 2, whole.len() - 1]) {
            let found = check(&whole[..cut].to_vec()).expect_err("cut off");
            assert!(matches!(found, Problem::Truncated(_) | Problem::NotALibrary(_)), "{cut}: {found:?}");
        }
    }

    #[test]
    fn every_flipped_byte_of_the_header_is_handled() {
        let mut whole = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        for at in 0..64 {
            whole[at] ^= 0xff;
            let _ = check(&whole);
            whole[at] ^= 0xff;
        }
    }

    #[test]
    fn another_machine_is_named() {
        let mut whole = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        whole[18..20].copy_from_slice(&8u16.to_le_bytes());
        assert!(matches!(check(&whole), Err(Problem::OtherMachine(found, _)) if found.starts_with("MIPS")));
    }
}
