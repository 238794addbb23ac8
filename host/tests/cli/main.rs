//! The `plinth` binary as a user sees it: messages and exit statuses.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod plinth;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod switch;
#[cfg(test)]
mod vm;
#[cfg(test)]
mod volume;
