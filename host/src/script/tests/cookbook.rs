//! The recipes of the cookbook, taken out of its text and run with their tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::write;
use crate::script::{FoundBot, TestOrder, check, run_tests};

/// A fenced block: what it is for, its recipe, and the text.
struct Block {
    kind: String,
    recipe: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                let words: Vec<&str> = info.split_whitespace().collect();
                let (kind, recipe) = match words[..] {
                    ["lua", kind, recipe] => (kind, recipe),
                    ["toml", recipe] => ("toml", recipe),
                    _ => panic!("a block that belongs to no recipe: {info}"),
                };
                blocks.push(Block { kind: kind.to_owned(), recipe: recipe.to_owned(), text: String::new() });
                inside = true;
            }
            None if inside => blocks.last_mut().unwrap().text.extend([line, "\n"]),
            None => {}
        }
    }
    blocks
}

#[test]
fn every_recipe_of_the_cookbook_does_what_its_test_says() {
    let book = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/cookbook.md");
    let mut recipes: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in blocks(&std::fs::read_to_string(book).unwrap()) {
        let name = block.recipe.split('/').next().unwrap().to_owned();
        recipes.entry(name).or_default().push(block);
    }
    assert_eq!(recipes.len(), 15);
    let dir = tempfile::tempdir().unwrap();
    for (name, blocks) in &recipes {
        let folder = blocks.iter().any(|block| block.kind == "toml" || block.recipe.contains('/'));
        let single = |ending: &str| if folder { format!("{name}/init{ending}") } else { format!("{name}{ending}") };
        for block in blocks {
            let file = match block.kind.as_str() {
                "bot" if block.recipe.contains('/') => block.recipe.clone(),
                "bot" => single(".lua"),
                "test" => single("_test.lua"),
                "toml" => format!("{name}/bot.toml"),
                other => panic!("{name}: {other}"),
            };
            write(dir.path(), &file, &block.text);
        }
        let bot = if folder { dir.path().join(name) } else { dir.path().join(format!("{name}.lua")) };
        assert_eq!(check(&FoundBot::at(&bot)), [], "{name}");
    }
    let run = run_tests(&TestOrder { paths: vec![dir.path().to_path_buf()], seed: 1, filter: None }).unwrap();
    let failed: Vec<_> = run.tests.iter().filter(|test| !test.ok).collect();
    assert!(run.ok, "{failed:#?}");
    for name in recipes.keys() {
        assert!(run.tests.iter().any(|test| test.bot.as_ref() == Some(name)), "{name} has no test");
    }
}
