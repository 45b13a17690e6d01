//! A radio link that loses every third packet still delivers everything, once, and without a flood.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qpq_host::api::{NodeApi, SendRequest};
use qpq_host::control::RemoteNode;
use qpq_tests::{ImpairedPath, Impairment, Outcome, Plan, Random, TestNode, ensure, poll, skip};
use tokio::task::JoinSet;

/// Messages of one rung.
const MESSAGES: usize = 1_000;

/// Their texts, in bytes.
const TEXT: usize = 1_000;

/// They must be there after so long. (Far less is usual; machines that run tests are slow.)
const WITHIN: Duration = Duration::from_secs(60);

/// The most bytes on the way, both directions, for each byte of text.
const MOST_BYTES: u64 = 3;

/// Messages that are handed to the node at the same time.
const SENDERS: usize = 8;

/// The transport in C and no other, and room for all messages of one sender.
const CONFIG: &str = "[plugins]\nload = [\"transport-udp-c\", \"routing-babel\"]\n[store]\nsender_share_percent = 100\nsender_messages = 100000\nrecipient_messages = 100000\nsender_bytes = 1073741824\nrecipient_bytes = 1073741824\n";

/// Two nodes that have no other transport than the one in C.
fn plan(name: &str, port: u16) -> Plan {
    TestNode::plan(name).listen(format!("udp://127.0.0.1:{port}")).config(CONFIG)
}

/// Has a node send all messages, so many at a time.
fn send_all(node: &TestNode, to: &str, random: &mut Random) -> Outcome<BTreeMap<String, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = RemoteNode::connect(&node.home())?;
    // Letters that nothing could make shorter.
    let text = |n: usize, random: &mut Random| -> String {
        let letter = |byte: u8| char::from(b'a' + byte % 26);
        format!("{n:06}").chars().chain(random.bytes(TEXT - 6).into_iter().map(letter)).collect()
    };
    let texts: Vec<_> = (0..MESSAGES).map(|n| text(n, random)).collect();
    runtime.block_on(async {
        let mut senders = JoinSet::new();
        for share in texts.chunks(MESSAGES.div_ceil(SENDERS)) {
            let (client, to, share) = (client.clone(), to.to_owned(), share.to_vec());
            senders.spawn(async move {
                let mut sent = Vec::new();
                for text in share {
                    let request =
                        SendRequest { to: to.clone(), payload: text.clone().into_bytes(), ..SendRequest::default() };
                    sent.push((client.send(request).await?.id.to_string(), text));
                }
                Ok::<_, qpq_host::api::ApiError>(sent)
            });
        }
        let mut ledger = BTreeMap::new();
        while let Some(sent) = senders.join_next().await {
            let sent = sent.map_err(|error| qpq_tests::Failure::new(error.to_string()))?;
            ledger.extend(sent.map_err(|error| qpq_tests::Failure::new(error.to_string()))?);
        }
        Ok(ledger)
    })
}

/// One row of the table.
fn rung(loss_percent: usize, random: &mut Random) -> Outcome<String> {
    let b = plan("b", free_port()?).start()?;
    let target = b.address().trim_start_matches("udp://").parse().map_err(|_| b.failure("no address"))?;
    let path = ImpairedPath::start(target, Impairment::radio(loss_percent), random.next_u64())?;
    let a = plan("a", free_port()?).peer(format!("udp://{}", path.address())).start()?;
    a.wait_links(1)?;
    let (before, began) = (path.traffic(), Instant::now());
    let ledger = send_all(&a, &b.peer_id()?, random)?;
    let mut found = BTreeMap::new();
    let mut after = 0;
    let waited = poll::until_within(WITHIN, "all messages arrive", || {
        for message in b.inbox_after(after)? {
            after = message.seq;
            let twice = found.insert(message.id.clone(), message.text);
            ensure!(twice.is_none(), "message {} is there twice", message.id);
        }
        Ok((found.len() >= ledger.len()).then_some(()))
    });
    waited.map_err(|failure| b.failure(&format!("{} of {}: {failure}", found.len(), ledger.len())))?;
    ensure!(found == ledger, "what arrived isn't what was sent");
    let (took, traffic) = (began.elapsed(), path.traffic());
    let bytes = traffic.bytes - before.bytes;
    let (lost, datagrams) = (traffic.lost - before.lost, traffic.datagrams - before.datagrams);
    ensure!(bytes <= MOST_BYTES * (MESSAGES * TEXT) as u64, "{bytes} bytes on the way for {MESSAGES} texts of {TEXT}");
    Ok(format!(
        "| {loss_percent} % | {} of {MESSAGES} | 0 | {:.2} | {:.1} s | {} of {} |",
        found.len(),
        bytes as f64 / (MESSAGES * TEXT) as f64,
        took.as_secs_f64(),
        lost,
        datagrams
    ))
}

/// A UDP port of the loopback interface that is free now.
fn free_port() -> Outcome<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[test]
fn a_thousand_messages_cross_a_bad_radio_link_over_the_transport_in_c() -> Outcome {
    let mut random = Random::announced("a_bad_radio_link");
    let rungs: &[usize] = if skip::soak() { &[1, 5, 12, 25, 30] } else { &[30] };
    let say = |row: &str| _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{row}\n").as_bytes());
    say("| lost | arrived | doubled | bytes for a byte of text | took | datagrams lost |");
    for _ in 0..skip::rounds(1, 10) {
        for loss_percent in rungs {
            let row = rung(*loss_percent, &mut random);
            say(&row.map_err(|failure| failure.during(&format!("{loss_percent} % lost")))?);
        }
    }
    Ok(())
}
