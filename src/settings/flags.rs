//! Settings as flags of a command, made from the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, FromArgMatches, value_parser};

use super::layers::Sources;
use super::table::{self, Row};

const CONFIG: &str = "config";
const HEADING: &str = "Settings";

/// The settings that were given as flags.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    given: BTreeMap<&'static str, String>,
    config: Option<PathBuf>,
}

impl Flags {
    /// Flags over the environment of this process.
    pub fn over_environment(self) -> Sources {
        Sources {
            flags: self.given,
            config: self.config,
            ..Sources::environment()
        }
    }
}

/// The settings that say where the data is, for commands beside a server. All others are still
/// read, and checked, where the environment or the file has them.
#[derive(Debug, Clone, Default)]
pub struct DataFlags(Flags);

impl DataFlags {
    /// Flags over the environment of this process.
    pub fn over_environment(self) -> Sources {
        self.0.over_environment()
    }
}

const DATA_ROWS: [&dyn Row; 2] = [&table::DATA, &table::STORE];

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        augment(command, &table::ALL)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.take(matches, &table::ALL);
        Ok(())
    }
}

impl clap::Args for DataFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, &DATA_ROWS)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DataFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.take(matches, &DATA_ROWS);
        Ok(())
    }
}

impl Flags {
    fn take(&mut self, matches: &ArgMatches, rows: &[&dyn Row]) {
        for row in rows {
            if let Some(value) = matches.get_one::<String>(row.name()) {
                self.given.insert(row.name(), value.clone());
            }
        }
        if let Some(config) = matches.get_one::<PathBuf>(CONFIG) {
            self.config = Some(config.clone());
        }
    }
}

/// The flags of `rows`, and the one that names the file.
fn augment(command: Command, rows: &[&'static dyn Row]) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help_heading(HEADING)
        .help(format!(
            "TOML file with settings; its keys are these flags with _ for - [env: {}]",
            table::CONFIG_VARIABLE
        ));
    let flags = rows.iter().map(|row| {
        let (name, default) = (row.name(), row.default());
        Arg::new(name)
            .long(table::flag(name))
            .value_name(row.placeholder())
            .help_heading(HEADING)
            .help(format!("{} [default: {default}]", row.help()))
            .long_help(format!(
                "{}\n{}\n[env: {}] [default: {default}]",
                row.help(),
                sentence(&row.allowed()),
                table::variable(name)
            ))
    });
    command.arg(config).args(flags)
}

/// The words with a capital letter in front and a full stop behind.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn every_setting_is_a_flag() {
        let mut command = Flags::augment_args(Command::new("serve"));
        let help = command.render_long_help().to_string();
        for row in table::ALL {
            assert!(
                help.contains(&format!("--{} <", table::flag(row.name()))),
                "{}",
                row.name()
            );
            assert!(
                help.contains(&format!("[env: {}]", table::variable(row.name()))),
                "{}",
                row.name()
            );
        }
        let matches = command.get_matches_from(["serve", "--max-reads", "3", "--config", "a.toml"]);
        let sources = Flags::from_arg_matches(&matches)
            .unwrap()
            .over_environment();
        assert_eq!(
            sources.flags,
            BTreeMap::from([("max_reads", "3".to_owned())])
        );
        assert_eq!(sources.config, Some(PathBuf::from("a.toml")));
    }
}
