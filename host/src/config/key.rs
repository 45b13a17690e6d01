//! One key of the configuration, and the macro that makes a section from a table of keys.

/// Before the name of every variable of the environment that the node reads.
pub(super) const VARIABLE_PREFIX: &str = "QPQ_";

/// What is known of a key.
#[derive(Debug)]
pub struct Key {
    /// The table that it stands in; empty for keys outside of any table.
    pub section: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// Its type, in words.
    pub kind: &'static str,
    /// The unit of its value; empty when it has none.
    pub unit: &'static str,
    /// Smallest and largest value, for numbers.
    pub bounds: Option<(u64, u64)>,
    /// What it means, line by line.
    pub doc: &'static [&'static str],
}

impl Key {
    /// `section.name`, or the name alone.
    pub fn full_name(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.full_name().replace('.', "_").to_uppercase())
    }
}

/// A table of keys.
pub(super) trait Section {
    /// The keys, in the order of the reference.
    const KEYS: &'static [Key];
    /// Sets a key of that name, which must be in [`Self::KEYS`].
    fn set(&mut self, name: &str, value: &toml::Value) -> Result<(), super::setting::Fault>;
    /// The value of a key.
    fn get(&self, name: &str) -> Option<toml::Value>;
}

/// Makes the struct, its defaults and its [`Section`] from a table of keys:
/// `name: type = default, "unit", check;` where `check` is `any`, `between MIN, MAX`, or `with FUNCTION`.
macro_rules! section {
    (
        $(#[$struct_doc:meta])*
        $Struct:ident = $section:literal {
            $($(#[doc = $doc:literal])+ $name:ident: $Type:ty = $default:expr, $unit:literal, $check:ident $($arg:expr),*;)+
        }
    ) => {
        $(#[$struct_doc])*
        #[derive(Debug, Clone)]
        pub struct $Struct {
            $($(#[doc = $doc])+ pub $name: $Type,)+
        }

        impl Default for $Struct {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Section for $Struct {
            const KEYS: &'static [Key] = &[$(Key {
                section: $section,
                name: stringify!($name),
                kind: <$Type as Setting>::KIND,
                unit: $unit,
                bounds: section!(@bounds $check $($arg),*),
                doc: &[$($doc),+],
            }),+];

            fn set(&mut self, name: &str, value: &toml::Value) -> Result<(), Fault> {
                match name {
                    $(stringify!($name) => {
                        let value = <$Type as Setting>::from_value(value)?;
                        self.$name = section!(@check value, $check $($arg),*);
                        Ok(())
                    })+
                    _ => Err(Fault::new("there is no such key")),
                }
            }

            fn get(&self, name: &str) -> Option<toml::Value> {
                match name {
                    $(stringify!($name) => self.$name.to_value(),)+
                    _ => None,
                }
            }
        }
    };
    (@bounds between $min:expr, $max:expr) => { Some(($min as u64, $max as u64)) };
    (@bounds $check:ident $($arg:expr),*) => { None };
    (@check $value:ident, any) => { $value };
    (@check $value:ident, between $min:expr, $max:expr) => { between($value, $min, $max)? };
    (@check $value:ident, with $function:expr) => { $function($value)? };
}

pub(super) use section;
