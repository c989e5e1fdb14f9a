//! The drill that `asof drill init` writes: every key with what it means.

/// The text. `ROOT` stands for a path that is protected.
pub(crate) const TEMPLATE: &str = r##"# A recovery drill: a restore that is tested before it is needed.
#
#   asof drill witness --to DIR     note what is there now, outside the journal (before the drill, or daily)
#   asof drill THIS-FILE            run it: exit 0 pass, 4 fail, 3 inconclusive
#
# A drill never touches the live tree or the live journal: it restores into scratch space, which is removed at its end.

# Its name in reports, and that of what is kept of it. Default: the name of this file.
name = "daily-sample"

# What is supposed to have happened:
#   file                single files are lost
#   tree                trees are lost
#   everything          all that is protected is lost, and comes back into an empty directory
#   index-lost          the same as tree or file, from a copy of the journal without its index
#   torn-segment        the same, from a copy whose newest segment has lost its end
#   planted-corruption  the same, from a copy with a damaged block: passes only if the damage is found and no wrong
#                       byte comes back
#   ransomware          a copy of the tree is encrypted under a scratch agent; the last good instant is found from the
#                       history alone
#   agent-dead          a scratch agent is killed in the middle of work; what it had acknowledged has to come back
#   wrong-clock         a scratch agent runs under a clock that is off (needs libfaketime)
scenario = "file"

# What random choices are drawn with. Default: drawn anew each time, and said in the report; --seed repeats one.
#seed = 1

# The directory that scratch space is made in. Default: TMPDIR. It may not lie in the journal, nor in what is protected
# unless it is left out there.
#scratch = "/var/tmp"

# Scratch space is no larger. Default: as large as there is room.
#max_bytes = "20 GiB"

# Where reports, and what was drilled already, are kept. Default: $XDG_STATE_HOME/asof-drills, for root
# /var/lib/asof-drills.
#state = "/var/lib/asof-drills"

# With scenario = "wrong-clock": how far the clock is off. Default: "-400d".
#clock_offset = "-400d"

[what]
# One of these, or sample with paths.
# Files at random, a number or a percentage. Each drill takes the next ones, so that 100 drills of 1 % check everything.
sample = "1%"
# These paths with all below; with sample, what files are drawn from.
#paths = ["ROOT"]
# All that is protected.
#everything = true

[when]
# latest, a time as --at takes it ("yesterday 14:00", RFC 3339, seq:N), mark:NAME, or random-within 30d.
at = "latest"

[oracle]
# What restored things are compared with; never the journal itself. Witness files, or directories of them.
#witness = ["/var/lib/asof-drills/witness"]
# Lists as sha256sum writes them (hash = "blake3": b3sum). What equals them is proven. That something differs proves
# nothing, unless the list is of the very instant that is restored: at says the same as when.at then. below is where
# relative names lie.
#sums = [{ file = "/srv/hashes/product.sha256", below = "ROOT", at = "mark:hashed" }]
# The live tree, where it is unchanged since the instant.
live = true
# Older witnesses and lists do not count. Default: no limit.
#max_age = "35d"

[targets]
# From the request until everything is verified.
rto = "10m"
# The age of the newest recovered change at the failure.
rpo = "5m"

# What must hold. Without any: content and paths.
[[assert]]
kind = "content"
# The oracle has to know so much of what was chosen, else the drill is inconclusive. Default: 100%.
#least = "95%"

# Exactly those paths that the oracle knows; and these must not be there.
[[assert]]
kind = "paths"
#absent = ["ROOT/.cache"]
#least = "95%"

# Mode, owner (as root), modification time, attributes.
#[[assert]]
#kind = "metadata"

# The journal saw everything for so long before the instant. Default: 24h.
#[[assert]]
#kind = "no-gap"
#window = "24h"

[[assert]]
kind = "rto"

[[assert]]
kind = "rpo"

# The last drill of this name in which all else held is no older.
#[[assert]]
#kind = "last-success-age"
#max = "8d"

# A program that is run in what was restored; status 0 is well. It is killed with all its children at its limit
# (default 5m). cwd names the directory as it was when it was alive; default: what was restored.
#[[assert]]
#kind = "command"
#command = ["git", "fsck", "--full"]
#cwd = "ROOT"
#timeout = "5m"

# Who is told: an address, or a program with its words. One that cannot be reached is a warning.
#[hooks]
#start = ["https://hc.example.org/ping/drill/start"]
#success = ["https://hc.example.org/ping/drill"]
#failure = [["notify-send", "the recovery drill did not pass"]]

# Where else the report goes; it is kept under state in any case.
#[reports]
#junit = "/var/tmp/drill.xml"
#prometheus = "/var/lib/node_exporter/asof_drill.prom"
#markdown = "/var/tmp/drill.md"
#html = "/var/tmp/drill.html"
#json = "/var/tmp/drill.json"
"##;
