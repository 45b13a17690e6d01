//! Who answers, whom, and when.

use super::*;

mod in_processes {
    use crate::script::tests::process::in_processes;

    in_processes!(
        super::of_two_bots_of_a_node_with_one_command_one_answers,
        super::help_with_a_commands_name_is_that_commands_line_alone_whichever_bot_has_it,
        super::a_command_that_another_nodes_bot_answers_is_left_to_it_until_it_goes_silent,
        super::a_question_waits_for_its_person_while_others_are_served_and_holds_up_nothing,
        super::answers_that_wait_for_the_quota_leave_before_the_bot_stops,
    );
}

/// The text of a bot that greets on the channel `board`.
const GREETER: &str = "mesh.command('hi', { channel = 'board' }, function(msg) return 'hi from ' .. mesh.self.bot end)";

#[test]
fn of_two_bots_of_a_node_with_one_command_one_answers() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "anna.lua", GREETER);
    write(dir.path(), "bert.lua", GREETER);
    let live = Live::of(dir.path());
    live.running("anna");
    live.running("bert");
    assert_eq!(live.ask(EVE, Some("board"), "!hi"), "hi from anna");
    assert_eq!(live.ask(EVE, None, "!hi"), "hi from anna");
    let help = live.ask(EVE, Some("board"), "!help");
    assert!(help.starts_with("anna ") && help.contains("\nbert:\n!hi"), "{help}");
    live.until(|live| live.node.acked("bot:bert") == Some(3));
    assert_eq!(live.texts().len(), 3);
    live.stop();
}

#[test]
fn answers_that_wait_for_the_quota_leave_before_the_bot_stops() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.command('n', {}, function(_, n) return 'answer ' .. n end)");
    let mut config = config(dir.path());
    config.limits.messages_per_minute = 1;
    let live = Live::start(config, Store::default());
    live.running("bot");
    (1..=14).for_each(|n| live.tell(EVE, None, &format!("!n {n}")));
    live.until(|live| live.node.acked("bot:bot") == Some(14));
    assert!(live.texts().len() < 14);
    // A version in a process of its own leaves nothing behind for the next one, either.
    live.again("bot");
    live.tell(EVE, None, "!n 15");
    live.until(|live| live.node.acked("bot:bot") == Some(15));
    live.stop();
    let all: Vec<String> = (1..=15).map(|n| format!("answer {n}")).collect();
    assert_eq!(live.texts().join("\n"), all.join("\n"));
}

#[test]
fn help_with_a_commands_name_is_that_commands_line_alone_whichever_bot_has_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "anna.lua", "mesh.command('hi', { help = 'greet' }, function() end)");
    let bert = "mesh.command('bye', { args = '<name>', help = 'part', channel = 'board' }, function() end)";
    write(dir.path(), "bert.lua", bert);
    let live = Live::of(dir.path());
    live.running("anna");
    live.running("bert");
    assert_eq!(live.ask(EVE, None, "!help hi"), "!hi - greet");
    assert_eq!(live.ask(EVE, None, "!help !Bye "), "!bye <name> - part");
    assert_eq!(live.ask(EVE, Some("board"), "!help bye"), "!bye <name> - part");
    let all = live.ask(EVE, None, "!help nothing");
    assert!(all.contains("!hi - greet") && all.contains("!bye <name> - part"), "{all}");
    let here = live.ask(EVE, Some("board"), "!help hi");
    assert!(
        here.starts_with("bert ") && !here.contains("!hi"),
        "what is not answered there is not helped with: {here}"
    );
    assert_eq!(live.texts().len(), 5);
    live.stop();
}

#[test]
fn a_command_that_another_nodes_bot_answers_is_left_to_it_until_it_goes_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", GREETER);
    let live = Live::of(dir.path());
    live.running("bot");
    // A key that comes first in the order of this channel.
    let rival = [2; 32];
    let command = |n: u8| {
        let mut item = crate::script::double::message(PeerId(EVE), Some("board"));
        (item.id, item.payload) = (qpq_schemas::MessageId([n; 32]), b"!hi".to_vec());
        live.node.put(item)
    };
    let answer = |n: u8| {
        let mut item = crate::script::double::message(PeerId(rival), Some("board"));
        (item.automatic, item.reply_to) = (true, Some(qpq_schemas::MessageId([n; 32])));
        live.node.put(item)
    };
    // Nobody is known: it answers, and learns that the other one did, too.
    live.host.inbox_grew(command(1));
    live.sent(|sent| sent.len() == 1);
    let seq = answer(1);
    live.host.inbox_grew(seq);
    live.until(|live| live.node.acked("bot:bot") == Some(seq));
    // Now it waits for the other, and is quiet. Both come at once: how long it waits is no matter of this test.
    command(2);
    let seq = answer(2);
    live.host.inbox_grew(seq);
    live.until(|live| live.node.acked("bot:bot") == Some(seq));
    assert_eq!(live.texts().len(), 1);
    // The other is silent: it takes over, and from then on it is the first.
    live.host.inbox_grew(command(3));
    live.sent(|sent| sent.len() == 2);
    live.host.inbox_grew(command(4));
    live.sent(|sent| sent.len() == 3);
    live.stop();
}

#[test]
fn a_question_waits_for_its_person_while_others_are_served_and_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.command('buy', function(msg)\n\
                  local answer, err = msg:ask('how many?', { timeout = '2s' })\n\
                  return answer and 'sold ' .. answer.text or err.code\n\
                end)\n\
                mesh.on_envelope(function(msg) msg:reply('heard ' .. msg.text) end)\n\
                mesh.on('reaction', function(msg) mesh.send(msg.from, 'thanks for ' .. msg.text) end)\n\
                mesh.command('smile', function(msg) msg:react('+1') end)";
    write(dir.path(), "bot/init.lua", text);
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\", \"send\"]");
    let mut config = config(dir.path());
    config.limits.messages_per_minute = 1_000;
    let granted = ["direct", "reply", "send"].map(str::to_owned).to_vec();
    config.bots.insert("bot".to_owned(), BotConfig { granted: Some(granted), ..BotConfig::default() });
    let live = Live::start(config, Store::default());
    live.running("bot");
    let bob = [0xbb; 32];
    assert_eq!(live.ask(EVE, None, "!buy"), "how many?");
    assert_eq!(live.ask(bob, None, "3"), "heard 3");
    // The command counts as handled while its question waits.
    live.until(|live| live.node.acked("bot:bot") == Some(2));
    assert_eq!(live.ask(EVE, None, "5"), "sold 5");
    assert_eq!(live.ask(EVE, None, "6"), "heard 6");
    live.ask(EVE, None, "!buy");
    live.sent(|sent| sent.last().is_some_and(|text| text == "timeout"));
    assert_eq!(live.ask(EVE, None, "!smile"), "+1");
    let mut item = crate::script::double::message(PeerId(EVE), None);
    (item.payload, item.reaction) = (b"!buy".to_vec(), true);
    let seq = live.node.put(item);
    live.host.inbox_grew(seq);
    live.sent(|sent| sent.last().is_some_and(|text| text == "thanks for !buy"));
    live.stop();
}
