//! Two widths run at the same time and looked at whenever control is transferred: where they come apart.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use dotvm_arch::{W512, Width};
use dotvm_core::module::Module;
use dotvm_runtime::{FrameView, RuntimeError, Watch};
use serde::Serialize;

use super::subject::{Setting, Subject, is_same};
use crate::failure::Failure;

/// How often runs are looked at before it is given up.
const LOOKS: u64 = 1_000_000;
/// How far one width may run ahead of the other.
const AHEAD: usize = 256;

/// Where two widths come apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parting {
    /// The function.
    pub function: String,
    /// The line of the source at which it was noticed, which is where control went; 0 if it is not known.
    pub line: u32,
    /// What differs: a value by its name, or the way.
    pub what: String,
    /// The value at this width.
    pub here: Option<String>,
    /// The value at the widest width.
    pub widest: Option<String>,
    /// How often control had been transferred.
    pub transfers: u64,
}

/// What is compared.
struct Moment {
    depth: usize,
    function: u32,
    line: u32,
    locals: usize,
    words: Vec<W512>,
}

impl Moment {
    fn of(frames: &[FrameView], module: &Module) -> Moment {
        let Some(frame) = frames.last() else {
            return Moment { depth: 0, function: 0, line: 0, locals: 0, words: Vec::new() };
        };
        Moment {
            depth: frames.len(),
            function: frame.function,
            line: module.source_line(frame.function, frame.offset).unwrap_or(0),
            locals: frame.locals.len(),
            words: frame.locals.iter().chain(&frame.stack).copied().collect(),
        }
    }
}

/// Compares moments of a width with those of the widest.
struct Comparison {
    module: Module,
    width: Width,
    widest: Width,
    /// The function and line of the moment before.
    last: (u32, u32),
    looks: u64,
    found: Option<Parting>,
}

impl Comparison {
    /// Whether to look on.
    fn look(&mut self, here: &Moment, there: Option<&Moment>) -> bool {
        self.looks += 1;
        let Some(there) = there else {
            self.part(self.last, "the widest width ends here".to_owned(), None);
            return false;
        };
        let place = |moment: &Moment| (moment.depth, moment.function, moment.line, moment.words.len());
        if place(here) != place(there) {
            self.part(self.last, "the way from here".to_owned(), None);
            return false;
        }
        let differs = |(a, b): (&W512, &W512)| !is_same(a, self.width, b, self.widest);
        if let Some(at) = here.words.iter().zip(&there.words).position(differs) {
            let what = self.name(here, at);
            self.part((here.function, here.line), what, Some((here.words[at], there.words[at])));
            return false;
        }
        self.last = (here.function, here.line);
        self.looks < LOOKS
    }

    fn name(&self, moment: &Moment, at: usize) -> String {
        let names =
            self.module.debug.as_ref().and_then(|debug| debug.functions.get(moment.function as usize));
        if at >= moment.locals {
            return format!("stack slot {}", at - moment.locals);
        }
        match names.and_then(|names| names.words.get(at)) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("local {at}"),
        }
    }

    fn part(&mut self, (function, line): (u32, u32), what: String, values: Option<(W512, W512)>) {
        self.found = Some(Parting {
            function: self.module.function_name(function),
            line,
            what,
            here: values.map(|values| values.0.to_string()),
            widest: values.map(|values| values.1.to_string()),
            transfers: self.looks,
        });
    }
}

/// Sends what the widest width does.
fn sender(subject: &Subject, to: SyncSender<Moment>) -> Watch {
    let module = subject.module().clone();
    Watch::new(move |instance| to.send(Moment::of(&instance.frames(), &module)).is_ok())
}

/// Runs two widths side by side; `None` if nothing was found before both ended, or in the first million transfers.
pub fn parting(
    subject: &Subject,
    widest: &Subject,
    arguments: &[String],
    setting: &Setting,
) -> Result<Option<Parting>, Failure> {
    let (to, from): (SyncSender<Moment>, Receiver<Moment>) = sync_channel(AHEAD);
    let module = subject.module().clone();
    let first = (subject.function, 0);
    let comparison = Arc::new(Mutex::new(Comparison {
        module,
        width: subject.width,
        widest: widest.width,
        last: first,
        looks: 0,
        found: None,
    }));
    std::thread::scope(|scope| {
        let mut there = setting.clone();
        there.options.watch = Some(sender(widest, to));
        // The sender goes with the run, which tells that it is over.
        let widest = scope.spawn(move || widest.try_run(arguments, &there).map(|ran| ran.map(drop)));
        let mut here = setting.clone();
        let inside = comparison.clone();
        let module = subject.module().clone();
        here.options.watch = Some(Watch::new(move |instance| {
            let moment = Moment::of(&instance.frames(), &module);
            let other = from.recv().ok();
            inside.lock().unwrap_or_else(PoisonError::into_inner).look(&moment, other.as_ref())
        }));
        let ran = subject.try_run(arguments, &here).map(|ran| ran.map(drop));
        drop(here);
        let others = match widest.join() {
            Ok(others) => others,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        for ran in [ran, others] {
            match ran? {
                Ok(()) | Err(RuntimeError::Stopped) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
    .map(|()| comparison.lock().unwrap_or_else(PoisonError::into_inner).found.clone())
}
