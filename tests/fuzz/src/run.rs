//! One target's run: stored inputs first, then new ones until the time is up; and what is said of a failure.
//!
//! The environment: `FUZZ_MS` is how long each target runs (milliseconds of wall clock; default 1500),
//! `FUZZ_SEED` where it starts (default 1: the same inputs every time), `FUZZ_INPUT` a file that is the only input.

use std::cell::Cell;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::{Random, memory, mutate};

/// How long a target runs where nobody says.
const DEFAULT_MS: u64 = 1500;
/// Inputs in any case, on however busy a machine.
const INPUTS_MIN: u64 = 64;
/// Time of the processor that no input may take. Inputs are short; whatever takes this long grows with a number that it
/// holds instead of with its length.
const INPUT_MAX: Duration = Duration::from_secs(2);
/// Tries at making a failing input shorter.
const SHORTER_TRIES: usize = 2000;
/// An input up to this length is printed, too.
const PRINTED_MAX: usize = 2048;

/// How much memory an input may cost: so much, and so many bytes for each of its own.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes in any case.
    pub fixed: usize,
    /// Bytes for each byte of the input.
    pub per_byte: usize,
}

/// A decoder under test.
pub struct Target<'t> {
    /// What it is called, and its directory of stored inputs.
    pub name: &'t str,
    /// Makes a valid input; the place to check that what was encoded comes back.
    pub valid: &'t dyn Fn(&mut Random) -> Vec<u8>,
    /// Puts right what keeps a changed input from the decoder: checksums, lengths.
    pub mend: &'t dyn Fn(&mut Vec<u8>),
    /// Decodes, and checks what holds of any input; panics at a fault. Says whether the input was accepted.
    pub check: &'t dyn Fn(&[u8]) -> bool,
    /// What decoding may cost.
    pub memory: Memory,
    /// What means something to the decoder.
    pub words: &'t [&'t [u8]],
}

/// What went wrong with an input.
struct Fault {
    what: String,
    /// Whether a shorter input may show the same.
    shrinks: bool,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

impl Target<'_> {
    /// Runs the target.
    ///
    /// # Panics
    /// At a fault, with the input.
    pub fn run(&self) {
        assert!(memory::is_counting(), "this executable has no #[global_allocator] that counts");
        quiet_hook();
        if let Some(path) = std::env::var_os("FUZZ_INPUT") {
            let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            println!("{}: accepted: {}", self.name, (self.check)(&input));
            return;
        }
        let stored = self.replay();
        let seed = number("FUZZ_SEED").unwrap_or(1);
        let end = Instant::now() + Duration::from_millis(number("FUZZ_MS").unwrap_or(DEFAULT_MS));
        let (mut n, mut accepted, mut peak) = (0u64, 0u64, 0);
        while n < INPUTS_MIN || Instant::now() < end {
            let input = self.input(seed, n);
            match self.judge(&input) {
                Ok((good, bytes)) => {
                    accepted += u64::from(good);
                    peak = peak.max(bytes);
                }
                Err(fault) => self.fail(input, fault, &format!("FUZZ_SEED={seed}, input {n}")),
            }
            n += 1;
        }
        let percent = accepted as f64 * 100.0 / n as f64;
        println!(
            "fuzz {}: {n} inputs and {stored} stored ones, {percent:.0} % accepted, {} KiB at most, FUZZ_SEED={seed}",
            self.name,
            peak >> 10
        );
        assert!(accepted > 0, "{}: nothing was ever accepted: this target tests nothing", self.name);
    }

    /// The nth input of a seed.
    fn input(&self, seed: u64, n: u64) -> Vec<u8> {
        let mut random = Random::nth(seed, n);
        let made = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut input = (self.valid)(&mut random);
            match random.below(16) {
                0 => {}
                1 => input = random.some_bytes(256),
                _ => {
                    let other = (self.valid)(&mut random);
                    mutate::mutate(&mut input, &other, self.words, &mut random);
                }
            }
            if !random.one_in(8) {
                (self.mend)(&mut input);
            }
            input
        }));
        made.unwrap_or_else(|_| {
            panic!("{}: a valid value does not come back: FUZZ_SEED={seed}, input {n}", self.name)
        })
    }

    /// Checks an input: whether it was accepted and what it cost, or what is wrong.
    fn judge(&self, input: &[u8]) -> Result<(bool, usize), Fault> {
        let start = processor_time();
        let (checked, bytes) =
            memory::peak_of(|| panic::catch_unwind(AssertUnwindSafe(|| (self.check)(input))));
        let took = processor_time().saturating_sub(start);
        let accepted = checked.map_err(|panicked| Fault { what: words_of(&*panicked), shrinks: true })?;
        let most = self.memory.fixed + self.memory.per_byte * input.len();
        if bytes > most {
            let what = format!("{bytes} bytes of memory for {} of input, {most} at most", input.len());
            return Err(Fault { what, shrinks: true });
        }
        if took > INPUT_MAX {
            return Err(Fault { what: format!("took {took:?} of the processor"), shrinks: false });
        }
        Ok((accepted, bytes))
    }

    /// Checks every stored input; how many there were.
    fn replay(&self) -> usize {
        let dir = corpus().join(self.name);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in &paths {
            let input = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let Err(fault) = self.judge(&input) {
                panic!("{}: {}\nrun it alone: FUZZ_INPUT={}", self.name, fault.what, path.display());
            }
        }
        paths.len()
    }

    /// Makes the input shorter while it still fails, keeps it, and says so.
    fn fail(&self, mut input: Vec<u8>, mut fault: Fault, origin: &str) -> ! {
        if fault.shrinks {
            QUIET.set(true);
            self.shorten(&mut input, &mut fault);
            QUIET.set(false);
        }
        let path = corpus().join(self.name).join(format!("{:016x}", fnv(&input)));
        let kept = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &input));
        let place = match kept {
            Ok(()) => format!("kept, and replayed from now on: FUZZ_INPUT={}", path.display()),
            Err(error) => format!("{} was not written: {error}", path.display()),
        };
        let hex: String = input.iter().take(PRINTED_MAX).map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{}: {}\n{origin}, {} bytes: {hex}\nas text: {}\n{place}",
            self.name,
            fault.what,
            input.len(),
            input[..input.len().min(PRINTED_MAX)].escape_ascii()
        );
    }

    fn shorten(&self, input: &mut Vec<u8>, fault: &mut Fault) {
        let mut len = input.len() / 2;
        let mut tries = 0;
        while len > 0 && tries < SHORTER_TRIES {
            let mut at = 0;
            while at < input.len() && tries < SHORTER_TRIES {
                let mut shorter = input.clone();
                shorter.drain(at..(at + len).min(input.len()));
                (self.mend)(&mut shorter);
                tries += 1;
                match self.judge(&shorter) {
                    Err(same) if shorter.len() < input.len() => (*input, *fault) = (shorter, same),
                    _ => at += len,
                }
            }
            len /= 2;
        }
    }
}

/// Where inputs that once failed are kept.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("corpus")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn words_of(panicked: &(dyn std::any::Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    text.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panicked".into())
}

/// FNV-1a: a name for an input.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// While an input is made shorter it panics again and again: once is enough to read.
fn quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static MEMORY: crate::Counting = crate::Counting;

    fn target<'t>(check: &'t dyn Fn(&[u8]) -> bool) -> Target<'t> {
        Target {
            name: "self-test",
            valid: &|random| [b"ok:".to_vec(), random.some_bytes(40)].concat(),
            mend: &|_| {},
            check,
            memory: Memory { fixed: 1000, per_byte: 10 },
            words: &[b"bad"],
        }
    }

    fn fault_of(check: &dyn Fn(&[u8]) -> bool) -> (Vec<u8>, Fault) {
        quiet_hook();
        QUIET.set(true);
        let target = target(check);
        for n in 0..100_000 {
            let mut input = target.input(1, n);
            if let Err(mut fault) = target.judge(&input) {
                target.shorten(&mut input, &mut fault);
                QUIET.set(false);
                return (input, fault);
            }
        }
        panic!("no fault was found");
    }

    #[test]
    fn a_panic_is_found_and_its_input_made_short() {
        let (input, fault) = fault_of(&|input| {
            assert!(!input.windows(3).any(|three| three == b"bad"), "it said bad");
            true
        });
        assert_eq!((input.as_slice(), fault.what.as_str()), (&b"bad"[..], "it said bad"));
    }

    #[test]
    fn memory_beyond_the_limit_is_found_and_what_is_given_back_does_not_count() {
        let (_, fault) = fault_of(&|input| {
            let len = usize::from(input.first().copied().unwrap_or(0)) * 100;
            std::hint::black_box(vec![0u8; len]).len() > 2
        });
        assert!(fault.what.contains("bytes of memory"), "{}", fault.what);
        let thrifty = target(&|_| (0..100).all(|_| std::hint::black_box(vec![0u8; 900]).len() == 900));
        assert!(thrifty.judge(b"x").is_ok());
    }

    #[test]
    fn an_input_that_takes_too_long_is_found() {
        let slow = target(&|_| {
            let start = processor_time();
            while processor_time() - start < INPUT_MAX + Duration::from_millis(10) {}
            true
        });
        assert!(slow.judge(b"x").is_err_and(|fault| fault.what.contains("of the processor")));
    }

    #[test]
    fn a_target_that_accepts_nothing_fails() {
        let nothing = panic::catch_unwind(|| target(&|_| false).run());
        assert!(nothing.is_err());
    }

    #[test]
    fn an_input_depends_on_seed_and_number_alone() {
        let target = target(&|_| true);
        assert_eq!(target.input(5, 77), target.input(5, 77));
        assert_ne!(target.input(5, 77), target.input(6, 77));
    }
}
