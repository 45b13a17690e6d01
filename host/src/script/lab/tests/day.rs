//! Long traffic on a board, over a mesh that is hardly ever whole.

use super::{TestOrder, run_tests, write};

/// Keeps a replica, and puts down what it shows.
const KEEPER: &str = r#"
local cfg = mesh.config({ moderators = {} })
local board = assert(mesh.board("board", { moderators = cfg.moderators }))
mesh.command("board", {}, function()
  local lines = {}
  for _, post in ipairs(board:list({ replies = true, hidden = true, limit = 1000 })) do
    local marks = (post.pinned and "p" or "") .. (post.hidden and "h" or "")
    lines[#lines + 1] = post.id .. marks .. " " .. post.text
  end
  table.sort(lines)
  mesh.store:set("board", lines)
end)
"#;

/// A day for each seed: 1, or as many as `QPQ_SEEDS` says.
#[test]
fn after_a_day_of_traffic_over_a_flapping_mesh_all_nodes_show_what_people_wrote() {
    let first: u64 = std::env::var("QPQ_FIRST_SEED").map_or(1, |n| n.parse().unwrap());
    let days: u64 = std::env::var("QPQ_SEEDS").map_or(1, |n| n.parse().unwrap());
    for seed in first..first + days {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "keeper.lua", KEEPER);
        write(dir.path(), "keeper_test.lua", &include_str!("day.lua").replace("SEED", &format!("\"{seed}\"")));
        let run = run_tests(&TestOrder { paths: vec![dir.path().to_path_buf()], seed, filter: None }).unwrap();
        assert!(run.ok && run.passed == 1, "seed {seed}: {:#?}", run.tests);
    }
}
