//! Saves of one small file, one after the other: from close until each is durable.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::wait::{eventually, quiet};

/// Longer than a save may ever take.
const SAVE_MAX: Duration = Duration::from_secs(60);

/// Saves a file so many times and removes it; milliseconds from close until the published durable watermark covers each.
///
/// The agent behind `control` must protect the file and have nothing else to do.
pub fn saves(control: &mut Control, file: &Path, count: usize) -> Result<Vec<f64>, String> {
    let tell = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut latencies = Vec::new();
    for save in 0..count {
        let before = eventually(SAVE_MAX * 60, "nothing to be pending", || {
            let status = control.status().ok()?;
            (status.pending == 0).then(|| status.durable.map_or(0, |place| place.seq))
        });
        let mut open = File::create(file).map_err(tell)?;
        open.write_all(format!("save {save} of a small file\n").as_bytes()).map_err(tell)?;
        drop(open);
        let closed = Instant::now();
        loop {
            let status = control.status()?;
            if status.pending == 0 && status.durable.is_some_and(|place| place.seq > before) {
                break;
            }
            if closed.elapsed() > SAVE_MAX {
                return Err(format!("save {save} was not durable after {} s", SAVE_MAX.as_secs()));
            }
            quiet(Duration::from_millis(1));
        }
        latencies.push(closed.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(file).map_err(tell)?;
    Ok(latencies)
}
