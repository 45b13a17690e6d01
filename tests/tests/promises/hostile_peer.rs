//! A neighbour with a proven key and bad intentions: it may waste its own link, and nothing else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_schemas::MessageId;
use qpq_schemas::envelope::Kind;
use qpq_schemas::link::{Frame, MAX_SYNC_IDS, Sync};
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::SealingPublic;
use qpq_schemas::signature::SigningKey;
use qpq_tests::raw_link::{RawLink, draft, now_ms};
use qpq_tests::{Outcome, TestNode, ensure, procfs};

/// What a node under attack may use more than before.
const EXTRA_MEMORY: u64 = 64 << 20;

/// Lines in the log before it is thinned out, and after that for each second: from five places in the code.
const LOG_AT_ONCE: usize = 5 * 100;
const LOG_PER_SECOND: usize = 5 * 5;

/// How long an attack goes on.
const ATTACK: Duration = Duration::from_secs(4);

/// Runs an attack against a node that has an honest neighbour, and checks that the two don't suffer.
fn besiege<F: Future<Output = Outcome>>(attack: impl FnOnce(String) -> F + Send + 'static) -> Outcome {
    besiege_node(attack).map(drop)
}

/// The same, and returns the node that stood it.
fn besiege_node<F: Future<Output = Outcome>>(attack: impl FnOnce(String) -> F + Send + 'static) -> Outcome<TestNode> {
    let mut node = TestNode::plan("node").start()?;
    let friend = TestNode::plan("friend").peer(node.address()).start()?;
    friend.wait_links(1)?;
    let to = node.peer_id()?;
    let before = procfs::resident(node.pid()?).unwrap_or_default();
    let address = node.address().to_owned();
    let attacker = std::thread::spawn(move || -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = runtime.block_on(attack(address));
        // A link that the node closed is what the attack is expected to end with.
        if let Err(end) = end {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("attack: {end}\n").as_bytes());
        }
        Ok(())
    });
    let (mut peak, mut slowest) = (before, Duration::ZERO);
    let mut number = 0;
    while !attacker.is_finished() {
        let began = Instant::now();
        let id = friend.send(&to, &format!("honest {number}"))?;
        node.wait_id(&id)?;
        slowest = slowest.max(began.elapsed());
        peak = peak.max(procfs::resident(node.pid()?).unwrap_or_default());
        number += 1;
    }
    ensure!(node.is_alive(), "the node died");
    let log = node.log().lines().count();
    let told = format!(
        "memory +{} MiB, slowest of {number} honest messages {slowest:?}, {log} log lines\n",
        (peak - before) >> 20
    );
    let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    ensure!(peak < before + EXTRA_MEMORY, "memory grew from {before} to {peak} bytes");
    Ok(node)
}

#[test]
fn a_neighbour_that_announces_without_end_and_never_reads_is_cut_off() -> Outcome {
    besiege(|address| async move {
        let mut intruder = RawLink::enter(&[1; 32], &address).await?;
        let have = Frame::Sync(Sync::Have((0..MAX_SYNC_IDS).map(|_| MessageId(rand::random())).collect()));
        let until = Instant::now() + ATTACK;
        while Instant::now() < until {
            intruder.say(std::slice::from_ref(&have)).await?;
        }
        Ok(())
    })
}

/// A well-signed record of a node that nobody has ever met.
fn sybil_record(number: u64) -> Outcome<Bytes> {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_seed(&seed);
    let now = now_ms();
    let record = NodeRecord {
        peer: key.public(),
        seq_ms: now,
        expires_ms: now + 86_400_000,
        sealing: SealingPublic(rand::random()),
        nickname: format!("sybil {number}"),
        domain: String::new(),
        addresses: Vec::new(),
    };
    Ok(record.sign(&key)?.into())
}

#[test]
fn a_flood_of_strangers_records_does_not_hold_up_the_mail() -> Outcome {
    besiege(|address| async move {
        let records = (0..10_000).map(sybil_record).collect::<Outcome<Vec<_>>>()?;
        let mut intruder = RawLink::enter(&[2; 32], &address).await?;
        for chunk in records.chunks(64) {
            intruder.say(&[Frame::Records(chunk.to_vec())]).await?;
        }
        tokio::time::sleep(ATTACK).await;
        Ok(())
    })
}

#[test]
fn a_neighbour_that_fetches_large_broadcasts_and_never_reads_takes_no_memory() -> Outcome {
    besiege(|address| async move {
        let mut giver = RawLink::enter(&[3; 32], &address).await?;
        let mut ids = Vec::new();
        for _ in 0..400_u32 {
            let envelope = draft(Kind::Broadcast, rand::random(), vec![7; 60_000]).sign(&giver.key)?;
            ids.push(envelope.id());
            giver.say(&[Frame::Envelopes(vec![envelope.wire().clone()])]).await?;
        }
        let mut held = 0;
        giver
            .hear_until(|frame| {
                if let Frame::Custody(answers) = frame {
                    held += answers.len();
                }
                (held >= ids.len()).then_some(())
            })
            .await?;
        let mut takers = Vec::new();
        for seed in 10..20 {
            let mut taker = RawLink::enter(&[seed; 32], &address).await?;
            for chunk in ids.chunks(MAX_SYNC_IDS) {
                taker.say(&[Frame::Sync(Sync::Want(chunk.to_vec()))]).await?;
            }
            takers.push(taker);
        }
        tokio::time::sleep(ATTACK).await;
        Ok(())
    })
}

#[test]
fn a_replay_flood_of_one_message_does_not_hold_up_the_mail() -> Outcome {
    besiege(|address| async move {
        let mut intruder = RawLink::enter(&[4; 32], &address).await?;
        let wire = draft(Kind::Broadcast, [5; 32], vec![1; 16]).sign(&intruder.key)?.wire().clone();
        let batch = vec![wire; 300];
        let until = Instant::now() + ATTACK;
        while Instant::now() < until {
            intruder.say(&[Frame::Envelopes(batch.clone())]).await?;
        }
        Ok(())
    })
}

#[test]
fn strangers_that_never_say_who_they_are_keep_nobody_else_out() -> Outcome {
    besiege(|address| async move {
        let mut half_open = Vec::new();
        for number in 0..200_u8 {
            // Past the limit the node refuses, which is fine.
            half_open.extend(RawLink::connect(&[number.max(1); 32], &address).await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    })
}

#[test]
fn neighbours_that_come_and_go_do_not_fill_the_log_or_hold_up_the_mail() -> Outcome {
    let began = Instant::now();
    let node = besiege_node(|address| async move {
        for number in 0..300_u16 {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            let mut link = RawLink::enter(&seed, &address).await?;
            link.say_raw(b"\x00\x00\x00\x00rubbish \x1b[2J\n").await?;
            // The node's last word, or the end of the connection.
            let _ = link.hear_until(|frame| matches!(frame, Frame::Close(_)).then_some(())).await;
            link.connection.close(0_u8.into(), b"\x1b[31mbye\nERROR forged");
        }
        Ok(())
    })?;
    let log = node.log();
    ensure!(!log.contains('\u{1b}') && !log.contains("\nERROR forged"), "a peer wrote into the log");
    let (lines, seconds) = (log.lines().count(), began.elapsed().as_secs() as usize);
    let allowed = LOG_AT_ONCE + LOG_PER_SECOND * (seconds + 1);
    ensure!(lines < allowed, "300 short links left {lines} lines in the log within {seconds} s");
    Ok(())
}

/// Ten thousand messages for as many strangers wait at the node: routes change meanwhile.
#[test]
fn mail_for_ten_thousand_strangers_does_not_hold_up_the_rest() -> Outcome {
    besiege(|address| async move {
        let mut intruder = RawLink::enter(&[8; 32], &address).await?;
        for _ in 0..100 {
            let sealed = |_| Ok(draft(Kind::Direct, rand::random(), vec![0; 8]).sign(&intruder.key)?.wire().clone());
            let wires = (0..100).map(sealed).collect::<Outcome<Vec<_>>>()?;
            intruder.say(&[Frame::Envelopes(wires)]).await?;
        }
        for number in 0..40_u8 {
            let mut link = RawLink::enter(&[number + 30; 32], &address).await?;
            link.hear_until(|frame| matches!(frame, Frame::Records(_)).then_some(())).await?;
            link.connection.close(0_u8.into(), b"");
        }
        tokio::time::sleep(ATTACK).await;
        Ok(())
    })
}

#[test]
fn a_thousand_bad_signatures_cost_the_link_and_nothing_else() -> Outcome {
    besiege(|address| async move {
        for life in 0..20 {
            let mut intruder = RawLink::enter(&[11; 32], &address).await?;
            let bad = |_| {
                let mut wire = draft(Kind::Direct, [1; 32], vec![0; 8]).sign(&intruder.key)?.wire().to_vec();
                let signature = wire.len() - 10;
                wire[signature] ^= 1;
                Ok(Bytes::from(wire))
            };
            let wires = (0..300).map(bad).collect::<Outcome<Vec<_>>>()?;
            intruder.say(&[Frame::Envelopes(wires)]).await?;
            let close = |frame| if let Frame::Close(close) = frame { Some(close) } else { None };
            let close = intruder.hear_until(close).await.map_err(|failure| failure.during(&format!("life {life}")))?;
            ensure!(close.reason.contains("signatures"), "closed for {}", close.reason);
        }
        Ok(())
    })
}
