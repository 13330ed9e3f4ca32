//! What commands print: reports on standard output, progress on standard error.

use super::failure::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    cell::RefCell,
    fmt::Display,
    io::{self, Write},
    time::Duration,
};
use taproof::{output_file::OutputFile, progress::Progress};

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    json: bool,
    quiet: bool,
    to_stderr: bool,
}

impl Console {
    /// Prints reports as JSON if `json`, and no progress if `quiet`.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, to_stderr: false }
    }

    /// Prints reports on standard error if a file that the command writes is standard output, where it stays alone.
    pub(crate) fn beside<'f>(self, files: impl IntoIterator<Item = &'f OutputFile>) -> Self {
        Self { to_stderr: files.into_iter().any(OutputFile::is_stdout), ..self }
    }

    /// Prints a report: one line of JSON, or the text that `text` makes of it.
    pub(crate) fn report<R: Serialize, T: Display>(self, report: &R, text: impl FnOnce(&R) -> T) -> Result {
        if self.json { self.print(serde_json::to_string(report)?) } else { self.print(text(report)) }
    }

    /// Prints one line, or several in one string, to where reports go.
    pub(crate) fn print(self, text: impl Display) -> Result {
        if self.to_stderr {
            return Ok(writeln!(io::stderr().lock(), "{text}")?);
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// Prints a line to standard error that says how the work went; nothing if quiet.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Prints a line to standard error that is no part of a report; nothing if quiet.
    pub(crate) fn warn(self, text: impl Display) {
        if !self.quiet {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(io::stderr().lock(), "warning: {text}");
        }
    }

    /// A spinner on standard error for work of unknown length.
    pub(crate) fn spinner(self, message: impl Into<String>) -> ProgressBar {
        spinner(self.draw_target(), message.into())
    }

    fn draw_target(self) -> ProgressDrawTarget {
        if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }
}

fn spinner(target: ProgressDrawTarget, message: String) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    spinner.set_style(style.expect("the template is well-formed"));
    spinner.set_message(message);
    spinner.enable_steady_tick(TICK);
    spinner
}

const TICK: Duration = Duration::from_millis(200);

/// A stage's bar on standard error: a spinner until the length of the stage is known.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar, Console);

impl Bar {
    /// Shows a stage; nothing where standard error is no terminal.
    pub(crate) fn new(console: Console, stage: &str) -> Self {
        Self(console.spinner(stage.to_owned()), console)
    }

    /// Prints a line to standard error that says how the stage goes; nothing if quiet.
    pub(crate) fn note(&self, text: impl Display) {
        self.0.suspend(|| self.1.note(text));
    }

    /// Prints a line to standard error that is no part of a report; nothing if quiet.
    pub(crate) fn warn(&self, text: impl Display) {
        self.0.suspend(|| self.1.warn(text));
    }

    /// Ends the stage: the bar vanishes.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Shows stages that follow one another, one bar at a time, and none when it is dropped.
pub(crate) struct Stages {
    console: Console,
    target: Box<dyn Fn() -> ProgressDrawTarget>,
    bar: RefCell<Option<Bar>>,
}

impl Stages {
    /// Shows stages on standard error.
    pub(crate) fn new(console: Console) -> Self {
        Self { console, target: Box::new(move || console.draw_target()), bar: RefCell::default() }
    }

    /// Ends the stage before and shows the next.
    pub(crate) fn begin(&self, stage: &str) -> Bar {
        // The bar before goes first: two on the screen know nothing of each other, and leave lines behind.
        self.end();
        let bar = Bar(spinner((self.target)(), stage.to_owned()), self.console);
        self.bar.replace(Some(bar.clone()));
        bar
    }

    fn end(&self) {
        if let Some(last) = self.bar.take() {
            last.end();
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.end();
    }
}

impl Progress for Bar {
    fn report(&self, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            let style = ProgressStyle::with_template("{spinner} {msg} {bar:32} {percent:>3} % {elapsed}, {eta} left");
            self.0.set_style(style.expect("the template is well-formed"));
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    #[test]
    fn stages_leave_nothing_on_the_screen() {
        let screen = InMemoryTerm::new(10, 80);
        let drawn = screen.clone();
        let target = move || ProgressDrawTarget::term_like_with_hz(Box::new(drawn.clone()), 255);
        let console = Console::new(false, false);
        let stages = Stages { console, target: Box::new(target), bar: RefCell::default() };
        for stage in ["opening keys", "mining coins, depositing", "proving chunks"] {
            let progress = stages.begin(stage);
            progress.report(1, 2);
            progress.report(2, 2);
            assert!(screen.contents().contains(stage), "{stage}: {:?}", screen.contents());
            assert_eq!(screen.contents().trim_end().lines().count(), 1, "one bar at a time: {:?}", screen.contents());
        }
        drop(stages);
        assert_eq!(screen.contents().trim(), "");
    }
}
