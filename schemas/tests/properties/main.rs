//! Of every format: what was written is read back; and no bytes, made up or damaged, make a reader panic.

mod damage;
mod round_trip;
mod some;
