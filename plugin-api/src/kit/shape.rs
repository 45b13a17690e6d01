/// Which host an instance meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of this revision of the ABI.
    Today,
    /// One of version 1.0: whatever was appended later isn't there, although memory follows.
    Oldest,
    /// One of a later minor version: each struct is longer.
    Newer,
    /// One that offers no interface.
    Poor,
}
