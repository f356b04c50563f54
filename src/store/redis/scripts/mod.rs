//! The scripts: what has to happen in one step, whatever else is going on. Each names all its keys.

use super::link::Script;

/// All of them.
pub(super) struct Scripts {
    pub(super) save: Script,
    pub(super) remove: Script,
    pub(super) undo: Script,
    pub(super) hold: Script,
    pub(super) release: Script,
    pub(super) enlist: Script,
    pub(super) settle: Script,
    pub(super) relist: Script,
    pub(super) open: Script,
    pub(super) close: Script,
    pub(super) abandoned: Script,
    pub(super) condemn: Script,
    pub(super) claim: Script,
    pub(super) step: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            save: Script::new(include_str!("save.lua")),
            remove: Script::new(include_str!("remove.lua")),
            undo: Script::new(include_str!("undo.lua")),
            hold: Script::new(include_str!("hold.lua")),
            release: Script::new(include_str!("release.lua")),
            enlist: Script::new(include_str!("enlist.lua")),
            settle: Script::new(include_str!("settle.lua")),
            relist: Script::new(include_str!("relist.lua")),
            open: Script::new(include_str!("open.lua")),
            close: Script::new(include_str!("close.lua")),
            abandoned: Script::new(include_str!("abandoned.lua")),
            condemn: Script::new(include_str!("condemn.lua")),
            claim: Script::new(include_str!("claim.lua")),
            step: Script::new(include_str!("step.lua")),
        }
    }
}
