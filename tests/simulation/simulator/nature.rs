//! What happens in the model world without a process of nightshift, and how the world calms down in the end.

use super::{
    alerts,
    model::{Broken, Happening, Model},
};
use nightshift::model::{
    alert::Status,
    input::Command,
    time::{Micros, Span},
};

/// What needs no process.
pub fn happens(model: &mut Model, what: Happening) {
    match what {
        Happening::Fires { signal, same_start } => alerts::fires(model, signal, same_start),
        Happening::Ends { signal } => alerts::ends(model, signal),
        Happening::Repeats { signal, starts_at } => alerts::repeats(model, signal, starts_at),
        Happening::Silences { signal, lasts } => model.signals[signal].silenced_until = model.now() + lasts,
        Happening::SomebodyWrites { target, how } => {
            if !model.is_calm {
                model.somebody_writes(&target, how);
            }
        }
        Happening::Lands { call } => model.lands(call),
        Happening::PodsAreReady { target, generation } => {
            if let Some(thing) = model.things.get_mut(&target) {
                thing.pods_are_ready(generation);
            }
        }
        Happening::Breaks { what: Broken::JournalDown, lasts } => model.journal_down(lasts),
        Happening::Breaks { what, lasts } => {
            if !model.is_calm {
                model.breaks_down(what, lasts);
            }
        }
        Happening::JournalMended => model.journal_up(),
        Happening::CommitFails { fault } => model.commit_fails(fault, false),
        Happening::Crashes => model.dies(),
        Happening::ClockSteps { by } => model.clock_steps(by),
        Happening::Starts
        | Happening::StopsCleanly
        | Happening::Delivers { .. }
        | Happening::Asks { .. }
        | Happening::Reloads => {}
    }
}

/// All faults end, all alerts end and are told, people resume and leave.
pub fn calms_down(model: &mut Model) {
    model.is_calm = true;
    model.note(|| "the world is calm".to_owned());
    if model.broken.remove(&Broken::JournalDown).is_some() {
        model.journal_up();
    }
    model.broken.clear();
    model.crash_after_fault = false;
    model.ambushes.clear();
    for thing in model.things.values_mut() {
        thing.calms();
    }
    model.queue.retain(|_, what| {
        !matches!(
            what,
            Happening::Breaks { .. }
                | Happening::Crashes
                | Happening::StopsCleanly
                | Happening::CommitFails { .. }
                | Happening::SomebodyWrites { .. }
                | Happening::ClockSteps { .. }
                | Happening::Reloads
        )
    });
    for signal in 0..model.signals.len() {
        model.signals[signal].silenced_until = Micros(0);
        alerts::ends(model, signal);
        if model.signals[signal].has_fired {
            for minutes in [1, 50, 120] {
                let alert = alerts::alert_of(model, signal, Status::Resolved);
                model.later(Span::minutes(minutes), Happening::Delivers { alert, tries: 0 });
            }
        }
    }
    for minutes in [1, 45] {
        let command = Command::Resume { pause_file_present: false };
        model.later(Span::minutes(minutes), Happening::Asks { by: "ana".to_owned(), command });
    }
}
