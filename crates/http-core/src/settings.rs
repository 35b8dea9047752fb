//! Variables of a Worker, each declared once with [`worker_settings!`](crate::worker_settings).
//!
//! A declaration has the variable's name, default, parser and meaning. The settings, their parsing,
//! the list of names that a shell reads and the tables of the documentation come from it. A refused
//! value leaves the default and an error.

use std::collections::BTreeMap;

/// Variables and secrets by name, as the Worker received them; unset ones are absent.
#[derive(Clone, Default)]
pub struct WorkerVariables(pub BTreeMap<&'static str, String>);

/// Table of the documentation that lists a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableTable {
    /// The gateway's own variables.
    Gateway,
    /// Variables that describe the legacy system to the gateway.
    Legacy,
    /// Variables of the model worker.
    ModelWorker,
    /// Keys and tokens of the gateway, which are secrets.
    Secret,
}

/// Documentation of one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableDoc {
    /// Table that lists the variable.
    pub table: VariableTable,
    /// Name of the variable.
    pub name: &'static str,
    /// Value if the variable is unset or blank; empty for none.
    pub default: &'static str,
    /// Meaning of the variable and its range, as Markdown.
    pub meaning: &'static str,
}

/// Parses variables one by one and keeps the errors, each with the name of its variable.
pub struct VariableReader<'a, R> {
    variables: &'a WorkerVariables,
    errors: Vec<(&'static str, R)>,
}

impl<'a, R> VariableReader<'a, R> {
    /// Starts to read variables, with errors that are known before.
    pub const fn new(variables: &'a WorkerVariables, errors: Vec<(&'static str, R)>) -> Self {
        Self { variables, errors }
    }

    /// Parses the value of a variable, or its default if it is unset or blank. A refused value is
    /// recorded as an error and replaced by the default.
    ///
    /// # Panics
    /// Panics if the parser refuses the default, which is a bug in the declaration.
    pub fn parse_variable<T>(
        &mut self,
        variable: &'static str,
        default: &str,
        parse: fn(&str) -> Result<T, R>,
    ) -> T {
        let set_value = self.variables.0.get(variable).map(|value| value.trim());
        match parse(set_value.filter(|value| !value.is_empty()).unwrap_or(default)) {
            Ok(value) => value,
            Err(reason) => {
                self.errors.push((variable, reason));
                match parse(default) {
                    Ok(value) => value,
                    Err(_) => panic!("default of {variable}"),
                }
            }
        }
    }

    /// Returns the errors, in the order in which the variables were read.
    pub fn into_errors<E: From<(&'static str, R)>>(self) -> Vec<E> {
        self.errors.into_iter().map(E::from).collect()
    }
}

/// Declares the variables of a Worker once: for each, the field that holds it, the table of the
/// documentation that lists it, its name, its default, its parser and its meaning.
///
/// A group is a field with a struct of its own, whose fields are variables. The macro writes the
/// struct with a field for the errors, the constants `VARIABLES` (all names) and `VARIABLE_DOCS`, and
/// `read`, which parses all variables. The error type is made from a name and a reason.
#[macro_export]
macro_rules! worker_settings {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $Settings:ident, reasons $Reason:ty, errors $errors:ident: $Error:ty;
        settings {
            $($(#[$doc:meta])* $field:ident: $type:ty
                = $table:ident $name:ident, $default:literal, $parse:expr, $meaning:literal;)*
        }
        $(
            $(#[$group_doc:meta])*
            group $group:ident: $Group:ident in $group_table:ident {
                $($inner:ident
                    = $inner_name:ident, $inner_default:literal, $inner_parse:expr,
                        $inner_meaning:literal;)*
            }
        )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $visibility struct $Settings {
            $($(#[$group_doc])* pub $group: $Group,)*
            $($(#[$doc])* pub $field: $type,)*
            /// Variables that were refused; empty if all were accepted.
            pub $errors: Vec<$Error>,
        }

        /// Name of every variable and secret that the Worker reads.
        pub const VARIABLES: &[&str] =
            &[$(stringify!($name),)* $($(stringify!($inner_name),)*)*];

        /// Documentation of every variable and secret.
        pub const VARIABLE_DOCS: &[$crate::settings::VariableDoc] = &[
            $($crate::settings::VariableDoc {
                table: $crate::settings::VariableTable::$table,
                name: stringify!($name),
                default: $default,
                meaning: $meaning,
            },)*
            $($($crate::settings::VariableDoc {
                table: $crate::settings::VariableTable::$group_table,
                name: stringify!($inner_name),
                default: $inner_default,
                meaning: $inner_meaning,
            },)*)*
        ];

        impl $Settings {
            /// Parses all variables and keeps every error.
            fn read(mut reader: $crate::settings::VariableReader<'_, $Reason>) -> Self {
                Self {
                    $($group: $Group {
                        $($inner: reader.parse_variable(
                            stringify!($inner_name), $inner_default, $inner_parse,
                        ),)*
                    },)*
                    $($field: reader.parse_variable(stringify!($name), $default, $parse),)*
                    $errors: reader.into_errors(),
                }
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the constants of a declaration are public")]
mod tests {
    use super::*;

    fn parse_number(value: &str) -> Result<u64, String> {
        value.parse().map_err(|_| format!("`{value}`"))
    }

    worker_settings! {
        /// Settings of a test.
        struct TestSettings, reasons String, errors faults: TestFault;
        settings {
            /// A number.
            limit: u64 = Gateway LIMIT, "7", parse_number, "a number";
        }
        /// Two numbers that belong together.
        group pair: NumberPair in Legacy {
            low = LOW, "1", parse_number, "the lower";
            high = HIGH, "2", parse_number, "the higher";
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    struct NumberPair {
        low: u64,
        high: u64,
    }

    #[derive(Clone, Debug, PartialEq)]
    struct TestFault(String);

    impl From<(&'static str, String)> for TestFault {
        fn from((name, reason): (&'static str, String)) -> Self {
            Self(format!("{name}: {reason}"))
        }
    }

    #[test]
    fn a_refused_value_leaves_the_default_and_an_error_with_its_name() {
        let variables = [("LIMIT", " 8 "), ("LOW", "x"), ("HIGH", "  ")];
        let variables = variables.map(|(name, value)| (name, value.to_owned()));
        let variables = WorkerVariables(variables.into());
        let settings = TestSettings::read(VariableReader::new(&variables, Vec::new()));
        assert_eq!((settings.limit, settings.pair), (8, NumberPair { low: 1, high: 2 }));
        assert_eq!(settings.faults, [TestFault("LOW: `x`".to_owned())]);
        assert_eq!(VARIABLES, ["LIMIT", "LOW", "HIGH"]);
        assert_eq!(VARIABLE_DOCS[2].table, VariableTable::Legacy);
    }
}
