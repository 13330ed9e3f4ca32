//! What commands print: reports on standard output, progress on standard error.

use super::failure::{Exit, Failure, Fallible, Result};
use ::console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    cell::RefCell,
    fmt::Display,
    io::{self, Write},
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use taproof_base::{
    output_file::{Access, OutputFile, expect_report_apart},
    progress::Progress,
    shown,
};

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
    /// Fails, before anything is written, if a file and the report would be mixed in one place all the same.
    pub(crate) fn beside<'f>(self, files: impl IntoIterator<Item = &'f OutputFile>) -> Result<Self> {
        let files: Vec<&OutputFile> = files.into_iter().collect();
        expect_report_apart(&files)
            .or_exit(Exit::Input)
            .map_err(|failure| failure.advise("name another file, or send the report elsewhere"))?;
        Ok(Self { to_stderr: files.into_iter().any(OutputFile::is_stdout), ..self })
    }

    /// Prints a report: one line of JSON, or the text that `text` makes of it.
    pub(crate) fn report<R: Serialize, T: Display>(self, report: &R, text: impl FnOnce(&R) -> T) -> Result {
        if self.json { self.print_json(report) } else { self.print(text(report)) }
    }

    /// Prints what the command is for, as [`Console::report`] prints reports. It is lost where nobody takes it, so that
    /// is a failure.
    pub(crate) fn produce<R: Serialize, T: Display>(self, product: &R, text: impl FnOnce(&R) -> T) -> Result {
        if self.json { self.produce_json(product) } else { produce_line(&shown::lines(text(product))) }
    }

    /// The same of what is JSON in any case.
    pub(crate) fn produce_json(self, product: &impl Serialize) -> Result {
        produce_line(&shown::json(&serde_json::to_string(product)?))
    }

    /// Prints one line, or several in one string, to where reports go.
    pub(crate) fn print(self, text: impl Display) -> Result {
        self.write(shown::lines(text))
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn print_json(self, value: &impl Serialize) -> Result {
        self.write(shown::json(&serde_json::to_string(value)?))
    }

    fn write(self, text: String) -> Result {
        if self.to_stderr {
            return writeln!(io::stderr().lock(), "{text}").or_exit_while(Exit::Failed, "standard error");
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).or_exit_while(Exit::Failed, STDOUT)
    }

    /// Prints a line to standard error that says how the work went; nothing if quiet.
    pub(crate) fn note(self, text: impl Display) {
        self.say("note", text.to_string(), "");
    }

    /// Prints a line to standard error that is no part of a report; nothing if quiet.
    pub(crate) fn warn(self, text: impl Display) {
        self.say("warning", text.to_string(), "warning: ");
    }

    fn say(self, kind: &str, text: String, label: &str) {
        if self.quiet {
            return;
        }
        let line = match self.json {
            true => shown::json(&serde_json::json!({ kind: text }).to_string()),
            false => format!("{label}{}", shown::one_line(text)),
        };
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// A spinner on standard error for work of unknown length.
    pub(crate) fn spinner(self, message: impl Into<String>) -> ProgressBar {
        spinner(self.draw_target(), message.into())
    }

    fn draw_target(self) -> ProgressDrawTarget {
        if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }
}

/// A number of things, whose noun is in the plural where there is not one.
pub(crate) fn counted<N: PartialEq + From<u8> + Display>(count: N, noun: &str) -> String {
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    if count == N::from(1) { format!("1 {noun}") } else { format!("{count} {noun}{ending}") }
}

/// What errors call standard output.
pub(crate) const STDOUT: &str = "standard output";

fn produce_line(text: &str) -> Result {
    produce(|out| writeln!(out, "{text}"))
}

/// Writes what a command is for to standard output. A stream that is closed, or whose reader has left, takes nothing.
pub(crate) fn produce(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result {
    let output = OutputFile::open(Path::new("-"), Access::Public).map_err(|error| Failure::of(Exit::Failed, error))?;
    output.write(write).or_exit_while(Exit::Failed, STDOUT)
}

fn spinner(target: ProgressDrawTarget, message: String) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, target);
    // What may be cut off comes last.
    spinner.set_style(style("{spinner} {elapsed:>3} {wide_msg}"));
    spinner.set_message(message);
    spinner.enable_steady_tick(TICK);
    spinner
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

/// What a bar shows in so many columns: as much of the bar itself as there is room for, then none, and at last only a
/// part of the message.
fn bar_template(message: &str, columns: usize) -> String {
    /// The longest bar, and the shortest that shows anything.
    const BAR: RangeInclusive<usize> = 8..=32;
    // Spinner, time, percentage and rest of the time, with the spaces around: three digits and a unit each.
    let taken = "s 123s  100 %, 123s left".len() + message.chars().count();
    match columns.saturating_sub(taken + 1) {
        room if room >= *BAR.start() => {
            format!(
                "{{spinner}} {{elapsed:>3}} {{msg}} {{bar:{}}} {{percent:>3}} %, {{eta}} left",
                room.min(*BAR.end())
            )
        }
        _ if taken <= columns => "{spinner} {elapsed:>3} {msg} {percent:>3} %, {eta} left".to_owned(),
        _ => "{spinner} {percent:>3} % {wide_msg}".to_owned(),
    }
}

/// The width of the terminal that progress is shown on.
fn columns() -> usize {
    Term::stderr().size().1.into()
}

const TICK: Duration = Duration::from_millis(200);

/// A stage's bar on standard error: a spinner until the length of the stage is known.
#[derive(Clone)]
pub(crate) struct Bar {
    bar: ProgressBar,
    console: Console,
    columns: fn() -> usize,
    /// The width that the bar is styled for.
    styled_for: Arc<AtomicUsize>,
}

impl Bar {
    /// Shows a stage; nothing where standard error is no terminal.
    pub(crate) fn new(console: Console, stage: &str) -> Self {
        Self::of(console.spinner(stage.to_owned()), console, columns)
    }

    fn of(bar: ProgressBar, console: Console, columns: fn() -> usize) -> Self {
        Self { bar, console, columns, styled_for: Arc::default() }
    }

    /// Prints a line to standard error that says how the stage goes; nothing if quiet.
    pub(crate) fn note(&self, text: impl Display) {
        self.bar.suspend(|| self.console.note(text));
    }

    /// Prints a line to standard error that is no part of a report; nothing if quiet.
    pub(crate) fn warn(&self, text: impl Display) {
        self.bar.suspend(|| self.console.warn(text));
    }

    /// Ends the stage: the bar vanishes.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows stages that follow one another, one bar at a time, and none when it is dropped.
pub(crate) struct Stages {
    console: Console,
    target: Box<dyn Fn() -> ProgressDrawTarget>,
    columns: fn() -> usize,
    bar: RefCell<Option<Bar>>,
}

impl Stages {
    /// Shows stages on standard error.
    pub(crate) fn new(console: Console) -> Self {
        Self { console, target: Box::new(move || console.draw_target()), columns, bar: RefCell::default() }
    }

    /// Ends the stage before and shows the next.
    pub(crate) fn begin(&self, stage: &str) -> Bar {
        // The bar before goes first: two on the screen know nothing of each other, and leave lines behind.
        self.end();
        let bar = Bar::of(spinner((self.target)(), stage.to_owned()), self.console, self.columns);
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
        // A terminal may get another width at any time; each percent is often enough to look.
        let percent = |position: u64| u128::from(position) * 100 / u128::from(total.max(1));
        let is_new = self.bar.length() != Some(total);
        if is_new || percent(done) != percent(self.bar.position()) {
            let columns = (self.columns)();
            let is_other_width = self.styled_for.swap(columns, Ordering::Relaxed) != columns;
            if is_new || is_other_width {
                self.bar.set_style(style(&bar_template(&self.bar.message(), columns)));
            }
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
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
        let stages = Stages { console, target: Box::new(target), columns: || 80, bar: RefCell::default() };
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

    #[test]
    fn bars_shorten_to_the_width_of_the_terminal() {
        fn drawn(width: u16, columns: fn() -> usize) -> Vec<String> {
            let stages = ["following the chain", "proving chunks", "making the key of circuit withdraw-d10-n65535-v1"];
            let shown = |stage: &str| {
                let screen = InMemoryTerm::new(10, width);
                let bar =
                    spinner(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255), stage.to_owned());
                let bar = Bar::of(bar, Console::new(false, false), columns);
                bar.bar.force_draw();
                let spinning = screen.contents();
                bar.report(1, 3);
                bar.bar.force_draw();
                [spinning, screen.contents()]
            };
            stages.into_iter().flat_map(shown).collect()
        }
        let [wide, narrow, tiny] = [drawn(80, || 80), drawn(40, || 40), drawn(20, || 20)];
        for (shown, width) in [(&wide, 80), (&narrow, 40), (&tiny, 20)] {
            for text in shown {
                assert_eq!(text.trim_end().lines().count(), 1, "at {width} columns: {text:?}");
                assert!(text.chars().count() <= width, "at {width} columns: {text:?}");
            }
            assert!(shown[1].contains("33 %"), "{shown:?}");
        }
        assert!(wide[1].contains("following the chain") && wide[1].contains("left"), "{wide:?}");
        let bar_length = |text: &str| text.chars().filter(|letter| "█░".contains(*letter)).count();
        assert_eq!([&wide[3], &wide[5], &narrow[3]].map(|text| bar_length(text)), [32, 0, 0], "{wide:?} {narrow:?}");
    }
}
