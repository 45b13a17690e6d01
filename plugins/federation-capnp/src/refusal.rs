//! Why a peer is refused: one code for programs, one sentence for people, the same at both ends.

use std::fmt;

use crate::address::printable;

/// Why a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate is over.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate is of another CA.
    UnknownAuthority,
    /// It made its certificate itself.
    SelfSigned,
    /// Its certificate names another domain than the one that was dialled.
    WrongDomain,
    /// Its certificate names no domain.
    NoDomain,
    /// Its CA is trusted for other domains than one that its certificate names.
    NotPermitted,
    /// Its certificate is not made for this use.
    Usage,
    /// It shows the certificate of a CA as its own.
    AuthorityAsLeaf,
    /// Its certificate is none, or has something that nobody understands.
    Malformed,
    /// It doesn't have the key of the certificate that it shows.
    KeyMismatch,
    /// It speaks no TLS 1.3.
    TlsVersion,
    /// It speaks another protocol.
    Protocol,
    /// What it sent is not Cap'n Proto, or breaks a limit.
    Garbage,
    /// The operator has blocked its domain.
    Blocked,
    /// The operator lists the domains that may connect, and its is not among them.
    NotListed,
    /// It states an origin that its certificate doesn't name.
    WrongOrigin,
    /// It speaks another version of the relay calls.
    WrongVersion,
}

const ALL: [Reason; 19] = [
    Reason::NoCertificate,
    Reason::Expired,
    Reason::NotYetValid,
    Reason::UnknownAuthority,
    Reason::SelfSigned,
    Reason::WrongDomain,
    Reason::NoDomain,
    Reason::NotPermitted,
    Reason::Usage,
    Reason::AuthorityAsLeaf,
    Reason::Malformed,
    Reason::KeyMismatch,
    Reason::TlsVersion,
    Reason::Protocol,
    Reason::Garbage,
    Reason::Blocked,
    Reason::NotListed,
    Reason::WrongOrigin,
    Reason::WrongVersion,
];

/// TLS alerts (RFC 8446, 6) that say enough by themselves: peers that are not this plugin send no text.
const ALERTS: [(u64, Reason); 8] = [
    (42, Reason::Malformed),
    (43, Reason::Usage),
    (45, Reason::Expired),
    (48, Reason::UnknownAuthority),
    (51, Reason::KeyMismatch),
    (70, Reason::TlsVersion),
    (116, Reason::NoCertificate),
    (120, Reason::Protocol),
];

impl Reason {
    /// A stable word in kebab case.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Expired => "certificate-expired",
            Self::NotYetValid => "certificate-not-yet-valid",
            Self::UnknownAuthority => "unknown-authority",
            Self::SelfSigned => "certificate-self-signed",
            Self::WrongDomain => "wrong-domain",
            Self::NoDomain => "certificate-without-domain",
            Self::NotPermitted => "domain-not-permitted",
            Self::Usage => "certificate-usage",
            Self::AuthorityAsLeaf => "certificate-is-authority",
            Self::Malformed => "certificate-malformed",
            Self::KeyMismatch => "key-mismatch",
            Self::TlsVersion => "tls-version",
            Self::Protocol => "wrong-protocol",
            Self::Garbage => "not-federation",
            Self::Blocked => "domain-blocked",
            Self::NotListed => "domain-not-listed",
            Self::WrongOrigin => "wrong-origin",
            Self::WrongVersion => "wrong-version",
        }
    }

    /// What it means, and what mends it. "The peer" is the side that is refused.
    fn sentence(self) -> &'static str {
        match self {
            Self::NoCertificate => {
                "the peer showed no certificate; give it one of the common CA, `qpq federation cert` makes it"
            }
            Self::Expired => "the peer's certificate is over; renew it with `qpq federation cert`",
            Self::NotYetValid => "the peer's certificate is not valid yet; check the clocks of both machines",
            Self::UnknownAuthority => {
                "the peer's certificate is of a CA that is not trusted here; have that CA cross-signed (`qpq federation \
                 cross-sign`) and put the result into the file of `federation_ca`, or have the certificate made by a CA in it"
            }
            Self::SelfSigned => {
                "the peer's certificate is signed by itself; have it made by the common CA with `qpq federation cert`"
            }
            Self::WrongDomain => "the peer's certificate is for another domain; check the address, or its certificate",
            Self::NoDomain => "the peer's certificate names no domain; make one with a DNS name as SAN",
            Self::NotPermitted => {
                "the CA of the peer's certificate is trusted here for other domains only; give the peer a name in one of \
                 them, or vouch for that CA again with `qpq federation cross-sign --permit`"
            }
            Self::Usage => {
                "the peer's certificate may not be used for this; it needs both serverAuth and clientAuth, as \
                 `qpq federation cert` makes it"
            }
            Self::AuthorityAsLeaf => {
                "the peer shows the certificate of a CA as its own; make one for the domain with `qpq federation cert`"
            }
            Self::Malformed => "the peer's certificate can't be read; make a new one with `qpq federation cert`",
            Self::KeyMismatch => "the peer has not the key of the certificate that it shows",
            Self::TlsVersion => "the peer speaks no TLS 1.3; update it",
            Self::Protocol => "the peer speaks another protocol than quicproquo/federation/1; check address and port",
            Self::Garbage => "what the peer sent is no federation call, or breaks a limit",
            Self::Blocked => "the domain is blocked by the operator",
            Self::NotListed => "the operator lists the domains that may connect, and this one is not among them",
            Self::WrongOrigin => "the stated origin is none of the names in the peer's certificate",
            Self::WrongVersion => "only version 1 of the relay calls is spoken here",
        }
    }
}

/// A refusal: the reason, and a sentence with what was found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason.
    pub(crate) reason: Reason,
    /// For people.
    text: String,
}

impl Refusal {
    /// A refusal for that reason.
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, text: reason.sentence().to_owned() }
    }

    /// A refusal that says what was found.
    pub(crate) fn found(reason: Reason, found: &str) -> Self {
        Self { reason, text: format!("{} ({})", reason.sentence(), printable(found)) }
    }

    /// Finds a refusal in the text of a peer or of a library.
    pub(crate) fn in_text(text: &str) -> Option<Self> {
        let found = |reason: &Reason| {
            let (_, rest) = text.split_once(&format!("{}: ", reason.code()))?;
            Some(Self { reason: *reason, text: printable(rest.trim_end_matches("))")) })
        };
        ALL.iter().find_map(found)
    }

    /// What a TLS alert and its text say.
    pub(crate) fn of_alert(alert: u64, text: &str) -> Option<Self> {
        Self::in_text(text).or_else(|| {
            let (_, reason) = ALERTS.iter().find(|(code, _)| *code == alert)?;
            Some(Self::new(*reason))
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.text)
    }
}

// TLS hands errors of its verifiers on in this form, so it must be fit for the peer.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_again_in_what_the_other_end_hears() {
        for reason in ALL {
            let sent = Refusal::found(reason, "b.example");
            let heard = format!("invalid peer certificate: Other(OtherError({sent:?}))");
            assert_eq!(Refusal::in_text(&heard), Some(sent.clone()));
            assert_eq!(Refusal::in_text(&sent.to_string()), Some(sent));
        }
        assert_eq!(Refusal::in_text("another error"), None);
    }

    #[test]
    fn codes_are_different_and_none_is_found_in_another() {
        for one in ALL {
            let found: Vec<_> = ALL
                .iter()
                .filter(|other| format!("{}: ", one.code()).contains(&format!("{}: ", other.code())))
                .collect();
            assert_eq!(found, [&one]);
        }
    }

    #[test]
    fn alerts_of_others_have_a_reason_too() {
        assert_eq!(Refusal::of_alert(48, "").map(|refusal| refusal.reason), Some(Reason::UnknownAuthority));
        let text = "invalid peer certificate: Other(OtherError(certificate-expired: x))";
        assert_eq!(Refusal::of_alert(46, text).map(|refusal| refusal.reason), Some(Reason::Expired));
        assert_eq!(Refusal::of_alert(80, "internal"), None);
    }

    #[test]
    fn no_control_character_passes() {
        let refusal = Refusal::in_text("wrong-origin: \u{1b}[2J").expect("a refusal");
        assert!(!refusal.to_string().contains('\u{1b}'));
    }
}
