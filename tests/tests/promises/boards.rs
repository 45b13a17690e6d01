//! Boards: what people type is the same list at every node that keeps the board, whatever kept the nodes apart.

use qpq_tests::{Line, Outcome, TestNode, ensure};

/// Keeps a replica of the board, and says what is on it. The key is a moderator's.
fn reader(moderator: &str) -> String {
    format!(
        r#"local board = assert(mesh.board("board", {{ moderators = {{ "{moderator}" }} }}))
mesh.command("dump", {{}}, function(msg)
    local lines = {{}}
    for _, post in board:list({{ replies = true }}) do
        lines[#lines + 1] = (post.pinned and "*" or "") .. post.text
    end
    return #lines .. ": " .. table.concat(lines, "|")
end)
"#
    )
}

/// What a node's bot says is on the board, asked from another node.
fn board_of(bot: &TestNode, asker: &TestNode) -> Outcome<String> {
    let key = bot.peer_id()?;
    let answers =
        || -> Outcome<Vec<_>> { Ok(asker.inbox()?.into_iter().filter(|message| message.from == key).collect()) };
    let before = answers()?.len();
    asker.send(&key, "!dump")?;
    let answer = asker.wait("the bot answers", || Ok(answers()?.into_iter().nth(before)))?;
    Ok(answer.text)
}

#[test]
fn replicas_that_a_partition_kept_apart_show_the_same_board_once_it_heals() -> Outcome {
    let mut line = Line::start()?;
    let moderator = line.b.peer_id()?;
    for node in [&line.a, &line.c] {
        std::fs::write(node.home().join("scripts/reader.lua"), reader(&moderator))?;
        node.wait("the bot runs", || {
            let listed = node.json(&["script", "list"])?;
            Ok((listed["scripts"][0]["state"] == "running").then_some(()))
        })?;
        node.subscribe("board")?;
    }
    let first = line.a.broadcast("board", "!post Bicycle found")?;
    line.c.wait_id(&first)?;
    line.b.kill()?;
    // Apart: A edits and posts, C answers and posts.
    line.a.broadcast("board", &format!("!edit {} Bicycle found near the mill", &first[..8]))?;
    let seeds = line.a.broadcast("board", "!post Seeds to give away")?;
    line.c.broadcast("board", &format!("!reply {first} mine!"))?;
    let wrong = line.c.broadcast("board", "!post a slip")?;
    line.c.broadcast("board", &format!("!delete {wrong}"))?;
    line.b.start()?;
    line.b.wait_links(2)?;
    let pin = line.b.broadcast("board", &format!("!pin {}", &seeds[..8]))?;
    line.a.wait_id(&pin)?;
    line.c.wait_id(&pin)?;
    let wanted = "3: *Seeds to give away|mine!|Bicycle found near the mill";
    for node in [&line.a, &line.c] {
        node.wait("the board is whole", || Ok((board_of(node, &line.b)? == wanted).then_some(())))?;
    }
    // And for a bot that begins anew.
    line.c.kill()?;
    line.c.start()?;
    line.b.wait_links(2)?;
    let again = line.c.wait("the board is whole again", || {
        let told = board_of(&line.c, &line.b)?;
        Ok((told == wanted).then_some(told))
    })?;
    ensure!(again == wanted, "{again}");
    Ok(())
}
