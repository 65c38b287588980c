//! Exit codes, in one place.

use crate::ops::ErrorKind;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Success,
    /// Changes present, when they were asked about.
    Changes,
    /// As the failure says.
    Failure(ErrorKind),
}

impl Exit {
    /// The code that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Changes => 2,
            Self::Failure(kind) => match kind {
                ErrorKind::Failed => 1,
                ErrorKind::Partly => 3,
                ErrorKind::Health => 4,
                ErrorKind::Locked => 5,
                ErrorKind::Refused => 6,
                ErrorKind::Usage => 64,
                ErrorKind::Bug => 70,
                ErrorKind::Interrupted => 130,
            },
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
