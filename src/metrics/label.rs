//! Labels with a fixed set of values: what a stranger sends can make no more of them.

use std::fmt;
use std::marker::PhantomData;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The values of a label.
pub trait Label: Copy + 'static {
    /// The name of the label.
    const NAME: &'static str;
    /// All values.
    const VALUES: &'static [&'static str];

    /// Which of the values this is.
    fn index(self) -> usize;
}

/// An enum that is a [`Label`].
macro_rules! labels {
    ($(#[$outer:meta])* pub enum $name:ident: $label:literal { $($(#[$inner:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$inner])* $variant,)+ }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use labels;

/// A counter for each value of a label, all of them there from the start: a rate can be had of the first event on.
pub struct Counters<L> {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    each: Vec<Counter>,
    label: PhantomData<L>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let each = L::VALUES.iter().map(|value| family.get_or_create_owned(&[(L::NAME, *value)])).collect();
        Self { family, each, label: PhantomData }
    }
}

impl<L: Label> Counters<L> {
    /// The counter of one value.
    pub fn of(&self, label: L) -> &Counter {
        &self.each[label.index()]
    }

    pub(super) fn register(&self, name: &str, help: &str, registry: &mut Registry) {
        registry.register(name, help, self.family.clone());
    }
}

impl<L: Label> fmt::Debug for Counters<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(L::VALUES.iter().zip(self.each.iter().map(Counter::get))).finish()
    }
}
