//! Runs cases of the simulator: `make sim`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to a person is what this program is for")]

use std::path::PathBuf;
use std::process::ExitCode;

use qpq_tests::Outcome;
use qpq_tests::sim::chaos::{Chaos, Size};
use qpq_tests::sim::scenario::{Report, Scenario};
use qpq_tests::sim::{Detection, Options, Shape, svg, table};

const HELP: &str = "\
Simulates mesh networks of real node cores with real routing plugins.

Usage: qpq-sim [NAME=VALUE]...

  NODES=N[,N]...       how many nodes (100,1000)
  TOPOLOGY=T[,T]...    line, ring, grid, geometric, disc, scale-free, community (all but disc)
  SEED=N               all that is random follows from it (7)
  JSON=1               each case as one JSON object on a line of its own, instead of the table and the picture
  ROUTING=PLUGIN       the routing plugin (routing-babel)
  CONFIG=JSON          its configuration ({})
  ANNOUNCERS=N         nodes that announce themselves (all; 200 of more than 5,000)
  DETECTION=D          hello: lost links are noticed by missing hellos; at-once: the transport says so (hello)
  LOSS=PERCENT         frames that have to be repeated (0)
  SYNC_MS=MS           how long a commit takes a disk (4)
  WINDOW_S=S           how long the steady state is watched (960)
  RECORD_S=S           how often a node spreads its record
  OUT=FOLDER           where the picture goes (target/sim)
  CHAOS=N              instead: N small networks, from SEED on, in which anything may happen; says what broke the promise
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h" | "help")) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let plan = match Plan::read(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match plan.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("The simulation failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Plan {
    cases: Vec<Options>,
    json: bool,
    out: PathBuf,
    /// Seeds of small networks in which anything may happen, instead of the cases.
    chaos: std::ops::Range<u64>,
    size: Size,
}

impl Plan {
    fn read(arguments: &[String]) -> Outcome<Self> {
        let mut given = Given::default();
        for argument in arguments {
            given.take(argument)?;
        }
        let nodes = given.nodes.clone();
        let case = |(shape, nodes): (Shape, usize)| given.options(shape, nodes);
        let cases = nodes.iter().flat_map(|nodes| given.shapes.iter().map(|shape| (*shape, *nodes)));
        let size = Size { routing: given.options(Shape::Ring, 5).routing, ..Size::default() };
        let chaos = given.seed..given.seed + given.chaos;
        Ok(Self { cases: cases.map(case).collect(), json: given.json, out: given.out.clone(), chaos, size })
    }

    fn run_chaos(&self) -> Outcome {
        let (mut broken, mut acknowledged, count) = (0, 0, self.chaos.end - self.chaos.start);
        for seed in self.chaos.clone() {
            let verdict = Chaos::run(seed, &self.size)?;
            acknowledged += verdict.acknowledged;
            if !verdict.broken.is_empty() {
                broken += 1;
                println!("{}\n{}\n", verdict.story, verdict.broken.join("\n"));
            }
        }
        println!("{count} networks, {acknowledged} messages acknowledged; the promise was broken in {broken}");
        if broken == 0 { Ok(()) } else { Err(qpq_tests::Failure::new("the promise was broken")) }
    }

    fn run(self) -> Outcome {
        if !self.chaos.is_empty() {
            return self.run_chaos();
        }
        let mut reports = Vec::new();
        for options in self.cases {
            eprintln!("{} of {} nodes, seed {}:", options.shape, options.nodes, options.seed);
            let report = Scenario::run(options, &mut |line| eprintln!("  {line}"))?;
            if self.json {
                println!("{}", report.json());
            }
            reports.push(report);
        }
        if !self.json {
            print!("{}", table::table(&reports));
            picture(&self.out, &reports)?;
        }
        Ok(())
    }
}

fn picture(folder: &PathBuf, reports: &[Report]) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("sim.svg");
    std::fs::write(&file, svg::picture(reports))?;
    println!("\nThe picture is in {}.", file.display());
    Ok(())
}

/// What one word of the command line changes.
type Change = Box<dyn Fn(&mut Options)>;

/// The values of the command line.
struct Given {
    nodes: Vec<usize>,
    shapes: Vec<Shape>,
    json: bool,
    out: PathBuf,
    changes: Vec<Change>,
    seed: u64,
    chaos: u64,
}

impl Default for Given {
    fn default() -> Self {
        let shapes = Shape::ALL.into_iter().filter(|shape| *shape != Shape::Disc).collect();
        let out = PathBuf::from("target/sim");
        Self { nodes: vec![100, 1_000], shapes, json: false, out, changes: Vec::new(), seed: 7, chaos: 0 }
    }
}

impl Given {
    fn take(&mut self, argument: &str) -> Outcome {
        let (name, value) =
            argument.split_once('=').ok_or_else(|| bad(argument, "it is not of the form NAME=VALUE"))?;
        let number = || value.parse::<u64>().map_err(|_| bad(argument, "a whole number is wanted"));
        let value_owned = value.to_owned();
        match name {
            _ if value.is_empty() => {} // as make passes what was not given
            "NODES" => self.nodes = list(value, |one| one.parse().map_err(|_| bad(argument, "numbers are wanted")))?,
            "TOPOLOGY" => self.shapes = list(value, Shape::named)?,
            "SEED" => self.seed = number()?,
            "CHAOS" => self.chaos = number()?,
            "JSON" => self.json = value != "0",
            "OUT" => self.out = value.into(),
            "ROUTING" => self.change(move |options| options.routing.clone_from(&value_owned)),
            "CONFIG" => {
                let config: serde_json::Value = serde_json::from_str(value)?;
                self.change(move |options| options.config = config.clone());
            }
            "DETECTION" => {
                let detection = match value {
                    "hello" => Detection::Hello,
                    "at-once" => Detection::AtOnce,
                    _ => return Err(bad(argument, "there are hello and at-once")),
                };
                self.change(move |options| options.detection = detection);
            }
            "ANNOUNCERS" => number().map(|n| self.change(move |options| options.announcers = n as usize))?,
            "LOSS" => number().map(|n| self.change(move |options| options.loss = n.min(90) as f64 / 100.0))?,
            "SYNC_MS" => number().map(|n| self.change(move |options| options.sync_us = n * 1_000))?,
            "WINDOW_S" => number().map(|n| self.change(move |options| options.window_s = n))?,
            "RECORD_S" => number().map(|n| self.change(move |options| options.record_s = Some(n.max(1))))?,
            _ => return Err(bad(argument, "there is no such name")),
        }
        Ok(())
    }

    fn change(&mut self, change: impl Fn(&mut Options) + 'static) {
        self.changes.push(Box::new(change));
    }

    fn options(&self, shape: Shape, nodes: usize) -> Options {
        let mut options = Options::new(shape, nodes, self.seed);
        self.changes.iter().for_each(|change| change(&mut options));
        options
    }
}

fn bad(argument: &str, why: &str) -> qpq_tests::Failure {
    qpq_tests::Failure::new(format!("`{argument}`: {why}"))
}

fn list<T>(value: &str, read: impl Fn(&str) -> Outcome<T>) -> Outcome<Vec<T>> {
    value.split(',').map(read).collect()
}
