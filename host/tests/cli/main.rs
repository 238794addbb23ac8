//! The `plinth` binary as a user sees it: messages and exit statuses.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod plinth;
