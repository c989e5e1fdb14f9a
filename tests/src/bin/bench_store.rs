//! What the store can do beside its targets: rebuild an index, open for reading, check every byte.
//!
//! Run by `make bench-store`. The long histories are written by the library (`src/bulk.rs`), so that it is the store that
//! is measured and not a capture. `VERSIONS` is the largest history, `PARTS` chooses, `KEEP=DIR` leaves the journals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use asof_journal::append::Limits;
use asof_journal::content::codec::Codec;
use asof_journal::format::frame::{Encoding, FrameType};
use asof_journal::format::wire::Take;
use asof_journal::manifest::Manifest;
use asof_journal::open::Journal;
use asof_journal::segments::{FrameWalk, SegmentSet};
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{ClockReading, Content, Instant as Wall, Kind, NodeId, Op, Version};
use asof_tests::bulk::Bulk;
use asof_tests::figures::Figures;
use asof_tests::measure::{level, percentile, show_bytes, show_seconds};
use asof_tests::must::Must;
use asof_tests::pen::{Pen, version};
use asof_tests::process::Usage;
use asof_tests::programs::Programs;
use asof_tests::random::Random;

/// The history that the targets are about.
const VERSIONS: u64 = 5_000_000;
/// Answers of which the middle one and the slowest count.
const RUNS: usize = 41;
/// How far the index of a living agent can be behind, in versions that are edits.
const BEHIND: u64 = 30_000;
/// Content of the journal that is verified.
const CONTENT_BYTES: u64 = 384 << 20;
/// What is committed at once there.
const COMMIT_BYTES: usize = 4 << 20;

type Part = (&'static str, &'static str, fn(&Bench, &mut Figures));

const PARTS: [Part; 2] =
    [("versions", "a long history", Bench::versions), ("verify", "checking every byte", Bench::verify)];

struct Bench {
    versions: u64,
    content_bytes: u64,
    programs: Programs,
    dir: PathBuf,
}

/// The same as in every program of the project; glibc's takes twice the time for so many small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let small = given("SMALL").is_some();
    let chosen = given("PARTS");
    let wanted =
        |name: &str| chosen.as_ref().is_none_or(|chosen| chosen.split_whitespace().any(|part| part == name));
    let tmp = tempfile::tempdir().must("a temporary directory");
    let bench = Bench {
        versions: given("VERSIONS").and_then(|number| number.parse().ok()).unwrap_or(if small {
            100_000
        } else {
            VERSIONS
        }),
        content_bytes: if small { 16 << 20 } else { CONTENT_BYTES },
        programs: Programs::find(),
        dir: given("KEEP").map_or_else(|| tmp.path().to_path_buf(), PathBuf::from),
    };
    let mut figures = Figures::default();
    for (name, what, measure) in PARTS {
        if wanted(name) {
            figures.part(what, |figures| measure(&bench, figures));
        }
    }
    println!(
        "\n{}\nVersions: a tenth are first captures (name, identity, version), in batches of 1,000; the others edits in \
         batches of 64.\nA quarter stand in the index, the others have a block of their own. Processor time is user and \
         system, all threads.\nA first answer is a whole run of `asof`, from its start to its end, page cache warm.",
        figures.show()
    );
    if figures.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Bench {
    /// Rebuilds of the index and first answers, as the history grows.
    fn versions(&self, figures: &mut Figures) {
        let sizes: Vec<u64> =
            [self.versions / 50, self.versions / 5, self.versions].into_iter().filter(|n| *n > 0).collect();
        for versions in sizes {
            self.history(versions, versions == self.versions, figures);
        }
    }

    fn history(&self, versions: u64, is_target: bool, figures: &mut Figures) {
        let dir = self.dir.join(format!("versions-{versions}"));
        let start = Instant::now();
        let mut bulk = Bulk::create(&dir, versions);
        bulk.fill(versions);
        bulk.flush();
        let layout = Layout::new(&dir);
        let segments = tree_bytes(&layout.segments());
        println!(
            "  {versions} versions written in {}: {}",
            show_seconds(start.elapsed().as_secs_f64()),
            show_bytes(segments as f64)
        );

        let before = Usage::of(std::process::id());
        let start = Instant::now();
        let journal = Journal::open(&dir, &clock(), Limits::default()).must("a rebuild");
        let took = start.elapsed().as_secs_f64();
        let used = Usage::of(std::process::id()).cpu_seconds - before.cpu_seconds;
        let rebuilt = journal.report.rebuilt.is_some() && journal.report.damage.is_empty();
        assert!(rebuilt, "the index was rebuilt from a log without damage: {:?}", journal.report);
        drop(journal);
        let rate = versions as f64 / used;
        let name = format!("rebuild of {versions} versions");
        figures.told(&format!("{name}, wall clock"), show_seconds(took));
        figures.told(&format!("{name}, index"), show_bytes(tree_bytes(&layout.index()) as f64));
        let each = |rate: f64| format!("{rate:.0} versions/s of processor");
        if is_target {
            figures.at_least(&name, 500_000.0, rate, each);
        } else {
            figures.told(&name, each(rate));
        }
        self.answers(&dir, versions, "index up to date", &bulk, is_target, figures);
        for _ in 0..BEHIND / 64 {
            bulk.edit(64);
        }
        bulk.flush();
        self.answers(&dir, versions, &format!("index {BEHIND} versions behind"), &bulk, is_target, figures);
        if std::env::var_os("KEEP").is_none_or(|dir| dir.is_empty()) {
            fs::remove_dir_all(&dir).must(dir.display());
        }
    }

    /// How long a command takes to answer.
    fn answers(
        &self,
        dir: &Path,
        versions: u64,
        state: &str,
        bulk: &Bulk,
        is_target: bool,
        figures: &mut Figures,
    ) {
        level(dir);
        println!("  {state}: open segment of {}", show_bytes(bulk.open_bytes() as f64));
        let mut random = Random::new(versions);
        let files = (versions / 10).max(1);
        let took: Vec<f64> = (0..RUNS)
            .map(|_| {
                let path = Bulk::file_name(random.below(files));
                let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
                let start = Instant::now();
                let answer = self.asof(dir, &["ls", directory]);
                let took = start.elapsed().as_secs_f64();
                let name = path.rsplit('/').next().unwrap_or_default();
                assert!(answer.lines().any(|line| line.contains(name)), "{directory} holds {name}: {answer}");
                took
            })
            .collect();
        for (which, percent) in [("p50", 50.0), ("max", 100.0)] {
            let name = format!("first answer, {versions} versions, {state}, {which} of {RUNS}");
            let Some(seconds) = percentile(&took, percent) else { continue };
            if is_target {
                figures.at_most(&name, 0.1, seconds, show_seconds);
            } else {
                figures.told(&name, show_seconds(seconds));
            }
        }
    }

    fn asof(&self, dir: &Path, arguments: &[&str]) -> String {
        let done =
            Command::new(&self.programs.asof).arg("--journal").arg(dir).args(arguments).output().must("asof");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// `verify --deep` beside hashing and decompressing the same bytes, which it cannot be faster than.
    fn verify(&self, figures: &mut Figures) {
        let exists = Command::new(&self.programs.asof)
            .args(["verify", "--help"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .must("asof");
        if !exists.success() {
            figures.missing("verify --deep", "this asof has no verb `verify`");
            return;
        }
        let dir = self.dir.join("content");
        let plain = write_content(&dir, self.content_bytes);
        let segments = tree_bytes(&Layout::new(&dir).segments());
        println!("  {} of content in {} of segments", show_bytes(plain as f64), show_bytes(segments as f64));
        level(&dir);
        let hashed = best(|| hash(&dir));
        let decoded = best(|| decode(&dir));
        let verified = best(|| drop(self.asof(&dir, &["verify", "--deep"])));
        let rate = |seconds: f64| {
            format!("{}/s of segments, {}", show_bytes(segments as f64 / seconds), show_seconds(seconds))
        };
        figures.told("cat segments/* | b3sum (one thread)", rate(hashed));
        figures.told("zstd decompression of the same frames (one thread)", rate(decoded));
        figures.told("asof verify --deep", rate(verified));
        figures.at_least(
            "verify --deep by the slower of the two",
            0.7,
            hashed.max(decoded) / verified,
            |ratio| format!("{ratio:.2}"),
        );
    }
}

/// The fastest of three: what else the machine does only ever adds.
fn best(mut run: impl FnMut()) -> f64 {
    let took = (0..3).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    took.fold(f64::INFINITY, f64::min)
}

fn clock() -> ClockReading {
    ClockReading { wall: Wall(1_900_000_000_000_000_000), boottime_ns: 0, boot_id: [1; 16] }
}

/// A journal with content as it comes: files of every size, some of them edited; how many bytes of content.
fn write_content(dir: &Path, bytes: u64) -> u64 {
    let mut pen = Pen::open(dir, 0, Limits::default());
    let mut random = Random::new(5);
    let (mut written, mut before, mut text): (u64, Option<Version>, Vec<u8>) = (0, None, Vec::new());
    while written < bytes {
        let node = pen.journal.head.new_node();
        // Most are new, some are what the one before was with an edit in it.
        if before.is_some() && random.below(4) == 0 {
            let at = random.below(text.len() as u64) as usize;
            text.splice(at..at, *b"an edited line\n");
            // What is not durable yet is no base.
            pen.commit();
        } else {
            let len = 1 << (9 + random.below(12));
            let more = random.below(len as u64) as usize;
            text = random.text(len + more);
            before = None;
        }
        let name = format!("f{}", node.0).into_bytes();
        let bind = Op::Bind { dir: NodeId::ROOT, name, node, kind: Kind::File, succeeds: None };
        let version = version(Kind::File, Content::None);
        before = Some(pen.write_after(node, &mut text.as_slice(), vec![bind], version, before.as_ref()));
        written += text.len() as u64;
        if pen.stage() >= COMMIT_BYTES {
            pen.commit();
        }
    }
    pen.close();
    written
}

fn segment_paths(dir: &Path) -> Vec<PathBuf> {
    let segments = Layout::new(dir).segments();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&segments).must(segments.display()).flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What `cat segments/* | b3sum` does.
fn hash(dir: &Path) {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    for path in segment_paths(dir) {
        let mut file = fs::File::open(&path).must(path.display());
        loop {
            let len = std::io::Read::read(&mut file, &mut buffer).must(path.display());
            if len == 0 {
                break;
            }
            hasher.update(&buffer[..len]);
        }
    }
    std::hint::black_box(hasher.finalize());
}

/// Reads every frame and decompresses it; deltas, which need their base, are read only.
fn decode(dir: &Path) {
    let layout = Layout::new(dir);
    let manifest = Manifest::open(&OsStorage, &layout).must("the journal");
    let set = SegmentSet::open(&OsStorage, &layout, manifest.uuid).must("the segments");
    let mut codec = Codec::default();
    for segment in set.segments.values() {
        let mut walk =
            FrameWalk::new(segment, segment.start, segment.first_chain(), segment.len().must("its length"));
        let mut plain = Vec::new();
        while let Some(frame) = walk.next_frame().must("a frame") {
            let body = segment.body(frame.offset, &frame.header).must("a body");
            let front = match frame.header.frame_type {
                Some(FrameType::Block) => 32,
                Some(FrameType::Pack) => pack_front(&body),
                _ => 0,
            };
            if frame.header.encoding == Encoding::Zstd {
                plain.clear();
                let stored = body.get(front..).unwrap_or_default();
                codec
                    .decode(Encoding::Zstd, stored, frame.header.raw_len as usize, None, &mut plain)
                    .must("zstd");
            }
        }
    }
}

/// Where the payload of a pack begins.
fn pack_front(body: &[u8]) -> usize {
    let mut take = Take::new(body);
    for _ in 0..take.count(33).must("a pack") {
        take.array::<32>().and_then(|_| take.uint32()).must("a member");
    }
    body.len() - take.rest().len()
}

fn tree_bytes(dir: &Path) -> u64 {
    asof_journal::blocks::occupied(dir).must(dir.display())
}
