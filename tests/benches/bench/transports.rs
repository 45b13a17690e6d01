//! The same batches of envelopes over a transport plugin, through the host's layers, and over the bare library below it.
//! Both ends are in this process, so the processor time of both counts.

mod bare;
mod host;
mod relay;

use bytes::Bytes;
use qpq_tests::Outcome;

use crate::rate::median;
use crate::report::{Goal, Report};

/// Size of an envelope with a payload of 256 B.
const ENVELOPE: usize = 256 + 157;

/// Envelopes that go together, as a busy link packs them.
const BATCH: usize = 64;

/// Envelopes in each measurement over a direct path.
const DIRECT: usize = 1_000_000;

/// Envelopes in each measurement through a relay.
const RELAYED: usize = 250_000;

/// Turns; the median counts.
const TURNS: usize = 3;

/// The share of the bare library's rate that must be reached.
const SHARE: f64 = 0.8;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    compare(report, "quinn", DIRECT, &mut bare::Quinn::start()?, &mut host::Pair::start(&host::Kind::Quic)?)?;
    compare(report, "iroh", DIRECT, &mut bare::Iroh::start(None)?, &mut host::Pair::start(&host::Kind::Iroh(None))?)?;
    let relay = relay::Relay::start()?;
    let through = Some(relay.url());
    let what = "iroh, through a relay";
    compare(
        report,
        what,
        RELAYED,
        &mut bare::Iroh::start(through)?,
        &mut host::Pair::start(&host::Kind::Iroh(through))?,
    )
}

/// Whatever carries envelopes.
trait Carrier {
    /// Carries so many envelopes, and returns the seconds until the last one had arrived.
    fn carry(&mut self, envelopes: usize) -> Outcome<f64>;
}

fn compare(
    report: &mut Report,
    name: &str,
    envelopes: usize,
    bare: &mut dyn Carrier,
    plugin: &mut dyn Carrier,
) -> Outcome {
    // Windows and pacing settle first.
    bare.carry(envelopes / 10)?;
    plugin.carry(envelopes / 10)?;
    let (mut below, mut above) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        below.push(envelopes as f64 / bare.carry(envelopes)?);
        above.push(envelopes as f64 / plugin.carry(envelopes)?);
    }
    let (below, above) = (median(below), median(above));
    report.add(format!("bare {name}, batches of {BATCH} envelopes of {ENVELOPE} B"), below, "/s");
    let entry = report.add(format!("the same over the plugin and the host's link, {name}"), above, "/s");
    entry.ratio_to(below, format!("of bare {name}")).goal(Goal::RatioAtLeast(SHARE));
    Ok(())
}

/// A batch of envelopes: each with bytes of its own, as they come from the store.
fn batch() -> Vec<Bytes> {
    (0..BATCH).map(|_| Bytes::copy_from_slice(&[7; ENVELOPE])).collect()
}

/// The same batch as one piece of bytes.
fn block() -> Bytes {
    Bytes::from(vec![7; BATCH * ENVELOPE])
}
