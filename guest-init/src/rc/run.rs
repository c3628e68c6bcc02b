//! Works through a plan: which script may start now.
//!
//! Pure. Stages follow one another; within a stage a script starts when all
//! that it waits for have ended, whatever their status, as startpar does. At
//! most `limit` run at once, and one that wants the console runs alone. Of
//! those that may start, the one comes first for which most others wait one
//! after another: its chain is what a boot takes at least.

use std::cmp::Reverse;

use super::{Plan, Script};

/// A plan being worked through.
#[derive(Debug)]
pub struct Run {
    stages: std::vec::IntoIter<Vec<Script>>,
    stage: Vec<(Script, Progress)>,
    /// The scripts of the stage, longest chain first.
    turns: Vec<usize>,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Running,
    Ended,
}

impl Run {
    /// Begins a plan. `limit` is at least 1.
    pub fn new(plan: Plan, limit: usize) -> Self {
        let stages = plan.stages.into_iter();
        let mut run = Self { stages, stage: Vec::new(), turns: Vec::new(), limit: limit.max(1) };
        run.next_stage();
        run
    }

    /// A script that may start now, with its number for the calls below.
    pub fn ready(&self) -> Option<(usize, &Script)> {
        let running = self.stage.iter().filter(|(_, progress)| *progress == Progress::Running);
        let (count, alone) = running
            .fold((0, false), |(count, alone), (script, _)| (count + 1, alone | script.alone));
        if count >= self.limit || alone {
            return None;
        }
        self.turns.iter().find_map(|&number| {
            let (script, progress) = self.stage.get(number)?;
            let may = *progress == Progress::Waiting
                && (!script.alone || count == 0)
                && script.after.iter().all(|other| self.has_ended(*other));
            may.then_some((number, script))
        })
    }

    /// This script has been started.
    pub fn started(&mut self, number: usize) {
        self.set(number, Progress::Running);
    }

    /// This script could not be started and is still to be run.
    pub fn not_started(&mut self, number: usize) {
        self.set(number, Progress::Waiting);
    }

    /// This script has ended.
    pub fn ended(&mut self, number: usize) {
        self.set(number, Progress::Ended);
        self.next_stage();
    }

    /// Have all scripts of all stages ended?
    pub fn is_over(&self) -> bool {
        self.stage.is_empty()
    }

    fn has_ended(&self, number: usize) -> bool {
        // A number that isn't there can't be waited for.
        self.stage.get(number).is_none_or(|(_, progress)| *progress == Progress::Ended)
    }

    fn set(&mut self, number: usize, to: Progress) {
        if let Some((_, progress)) = self.stage.get_mut(number) {
            *progress = to;
        }
    }

    /// Goes to the next stage that has scripts, once all of this have ended.
    fn next_stage(&mut self) {
        while self.stage.iter().all(|(_, progress)| *progress == Progress::Ended) {
            let Some(stage) = self.stages.next() else {
                self.stage.clear();
                return;
            };
            self.turns = turns(&stage);
            self.stage = stage.into_iter().map(|script| (script, Progress::Waiting)).collect();
        }
    }
}

/// The numbers of scripts, those first at which the longest chain begins.
fn turns(stage: &[Script]) -> Vec<usize> {
    let mut waiting = vec![Vec::new(); stage.len()];
    for (number, script) in stage.iter().enumerate() {
        for before in &script.after {
            if let Some(waiting) = waiting.get_mut(*before) {
                waiting.push(number);
            }
        }
    }
    let mut known = vec![None; stage.len()];
    let mut turns: Vec<usize> = (0..stage.len()).collect();
    turns.sort_by_cached_key(|number| Reverse(chain(*number, &waiting, &mut known)));
    turns
}

/// How many scripts wait for this one, one after another.
fn chain(number: usize, waiting: &[Vec<usize>], known: &mut [Option<usize>]) -> usize {
    let Some(entry) = known.get_mut(number) else { return 0 };
    if let Some(length) = *entry {
        return length;
    }
    // A plan has no loops; in one this would be its end.
    *entry = Some(0);
    let nexts = waiting.get(number).into_iter().flatten();
    let length = nexts.map(|next| chain(*next, waiting, known) + 1).max().unwrap_or(0);
    if let Some(entry) = known.get_mut(number) {
        *entry = Some(length);
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(name: &str, after: &[usize], alone: bool) -> Script {
        let name = name.to_owned();
        Script { path: name.clone(), name, argument: "start".into(), after: after.to_vec(), alone }
    }

    fn plan(stages: Vec<Vec<Script>>) -> Plan {
        Plan { found: true, stages, ..Plan::default() }
    }

    fn start_ready(run: &mut Run) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((number, script)) = run.ready() {
            names.push(script.name.clone());
            run.started(number);
        }
        names
    }

    #[test]
    fn what_depends_on_nothing_runs_side_by_side() {
        let stage =
            vec![script("a", &[], false), script("b", &[], false), script("c", &[0], false)];
        let mut run = Run::new(plan(vec![stage, vec![script("d", &[], false)]]), 8);
        assert_eq!(start_ready(&mut run), ["a", "b"]);
        run.ended(0);
        assert_eq!(start_ready(&mut run), ["c"]);
        run.ended(1);
        assert!(start_ready(&mut run).is_empty());
        run.ended(2);
        assert_eq!(start_ready(&mut run), ["d"]);
        assert!(!run.is_over());
        run.ended(0);
        assert!(run.is_over());
    }

    #[test]
    fn what_most_wait_for_comes_first() {
        let stage = vec![
            script("alone", &[], false),
            script("short", &[], false),
            script("long", &[], false),
            script("after short", &[1], false),
            script("after long", &[2], false),
            script("last", &[4], false),
        ];
        let mut run = Run::new(plan(vec![stage]), 2);
        assert_eq!(start_ready(&mut run), ["long", "short"]);
        run.ended(2);
        assert_eq!(start_ready(&mut run), ["after long"]);
        run.ended(4);
        assert_eq!(start_ready(&mut run), ["alone"]);
    }

    #[test]
    fn one_that_wants_the_console_runs_alone() {
        let stage = vec![script("a", &[], false), script("b", &[], true), script("c", &[], false)];
        let mut run = Run::new(plan(vec![stage]), 8);
        assert_eq!(start_ready(&mut run), ["a", "c"]);
        run.ended(0);
        run.ended(2);
        assert_eq!(start_ready(&mut run), ["b"]);
    }

    #[test]
    fn an_empty_plan_is_over() {
        assert!(Run::new(plan(vec![vec![], vec![]]), 1).is_over());
    }

    proptest! {
        #[test]
        fn every_script_runs_once_and_after_what_it_waits_for(
            edges in prop::collection::vec((1usize..10, 0usize..10), 0..30),
            alone in prop::collection::vec(any::<bool>(), 10),
            limit in 1usize..5,
        ) {
            let mut stage: Vec<Script> =
                alone.iter().enumerate().map(|(n, alone)| script(&n.to_string(), &[], *alone)).collect();
            for (from, to) in edges.into_iter().filter(|(from, to)| to < from) {
                stage[from].after.push(to);
            }
            let after: Vec<Vec<usize>> = stage.iter().map(|s| s.after.clone()).collect();
            let mut run = Run::new(plan(vec![stage]), limit);
            let mut ended: Vec<usize> = Vec::new();
            let mut running: Vec<usize> = Vec::new();
            while !run.is_over() {
                while let Some((number, _)) = run.ready() {
                    prop_assert!(after[number].iter().all(|other| ended.contains(other)));
                    run.started(number);
                    running.push(number);
                }
                prop_assert!(running.len() <= limit);
                let number = running.remove(0);
                run.ended(number);
                ended.push(number);
            }
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..10).collect::<Vec<_>>());
        }
    }
}
