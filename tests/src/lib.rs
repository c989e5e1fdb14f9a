//! What the test suites, the demo, the benches and the storms share: trees, edits, real processes, an oracle.
//!
//! Nothing here is part of the product. Programs are driven through their command lines only, as a user would.

pub mod agent;
pub mod bulk;
pub mod control;
pub mod copy;
pub mod cuts;
pub mod desk;
pub mod edit;
pub mod fake_clock;
pub mod figures;
pub mod files;
pub mod filesystem;
pub mod full;
pub mod golden;
pub mod inject;
pub mod interrupted;
pub mod kills;
pub mod leavings;
pub mod life;
pub mod measure;
pub mod must;
pub mod oracle;
pub mod peers;
pub mod pen;
pub mod plot;
pub mod power;
pub mod process;
pub mod programs;
pub mod random;
pub mod readers;
pub mod releases;
pub mod report;
pub mod restores;
pub mod saves;
pub mod second_reader;
pub mod settings;
pub mod site;
pub mod specimen;
pub mod staged;
pub mod story;
pub mod sys;
pub mod torture;
pub mod tree;
pub mod wait;
pub mod years;
