//! The page of `asof help drill`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Runs a recovery drill: restores into scratch space what a file says, compares it with evidence that does not come from the \
journal, measures, and gives a verdict for people, scripts and monitors. It never touches the live tree or the live \
journal; scratch space is removed at its end, also after Ctrl-C.";

/// After the options.
pub(crate) const MORE: &str = "\
FILE is TOML; `asof drill init` writes one with every key explained. It says
what is restored (paths, a sample, everything), as of when, in which scenario
(file, tree, everything, index-lost, torn-segment, planted-corruption,
ransomware, agent-dead, wrong-clock), and what must hold. A file that is
called like a verb is named with its directory: ./list.

What came back is compared with witnesses, which `asof drill witness` wrote
while everything was there, with lists of `sha256sum` or `b3sum` that are named
in the file, and with the live tree where it is unchanged since that instant.
What none of them knows is not proven: then the drill is inconclusive. Samples
are taken without putting anything back: 100 drills of 1 % have checked
everything.

Each report is kept with the hash of the one before (default:
$XDG_STATE_HOME/asof-drills, for root /var/lib/asof-drills); --json prints it.
`asof drill history` says where a report was changed or removed, with status 4.
Other files of it are replaced as a whole: --html has plots of past drills,
--junit a case for each assertion, --prometheus the time of the last success.
[hooks] tells a monitor; one that cannot be reached is a warning.

Examples:
  asof drill init weekly.toml
  asof drill witness --to /var/lib/asof-drills/witness
  asof drill weekly.toml --html weekly.html
  asof --json drill weekly.toml --seed 7     the same choices as with that seed
  asof drill list                            which are there, how they ended
  asof drill history                         all that were run

Exit status:
  0 passed; 1 an error; 2 the file says what has no meaning, or contradicts
  itself; 3 inconclusive: something could not be told; 4 failed: something
  does not hold; 10 no journal there; 130 interrupted

See also: asof help restore, asof help verify, asof help status";
