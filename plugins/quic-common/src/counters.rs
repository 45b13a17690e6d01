//! Figures for `stats`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a struct `Counters` with a [`Counter`] of each name, visible in the crate, and a `to_json` that has them by name.
#[macro_export]
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened since the instance was made.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: $crate::Counter,)*
        }

        impl Counters {
            /// All figures by name.
            pub(crate) fn to_json(&self) -> $crate::serde_json::Value {
                $crate::serde_json::json!({ $(stringify!($name): self.$name.get(),)* })
            }
        }
    };
}
