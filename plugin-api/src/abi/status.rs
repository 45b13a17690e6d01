/// The outcome of a call: 0 is success, every failure is negative. Unknown negative numbers count as [`Status::FAILED`].
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub i32);

impl Status {
    /// Done, or for a call with an `op`: begun, and `op_done` will come exactly once.
    pub const OK: Self = Self(0);
    /// It did not work; the text says why.
    pub const FAILED: Self = Self(-1);
    /// An argument or a configuration value is wrong.
    pub const INVALID: Self = Self(-2);
    /// This function is not offered here.
    pub const UNSUPPORTED: Self = Self(-3);
    /// The instance, the link or the caller's registration is gone. Late calls get this.
    pub const CLOSED: Self = Self(-4);
    /// No room now; try again later.
    pub const BUSY: Self = Self(-5);
    /// A panic was caught at the boundary.
    pub const PANIC: Self = Self(-6);
    /// The time allowed ran out.
    pub const TIMEOUT: Self = Self(-7);
    /// No such link, record or address.
    pub const NOT_FOUND: Self = Self(-8);
    /// The remote could not be reached.
    pub const UNREACHABLE: Self = Self(-9);
    /// The remote, or the host, refused.
    pub const REFUSED: Self = Self(-10);

    /// Whether this is [`Status::OK`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// A stable word in kebab case.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OK => "ok",
            Self::INVALID => "invalid",
            Self::UNSUPPORTED => "unsupported",
            Self::CLOSED => "closed",
            Self::BUSY => "busy",
            Self::PANIC => "panic",
            Self::TIMEOUT => "timeout",
            Self::NOT_FOUND => "not-found",
            Self::UNREACHABLE => "unreachable",
            Self::REFUSED => "refused",
            _ => "failed",
        }
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.word(), self.0)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
