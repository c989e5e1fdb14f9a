//! The kinds of edits that there are.

pub use super::save::Program;

/// What one edit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds to the end.
    Append,
    /// Writes over some bytes in the middle, in place.
    Overwrite,
    /// Adds bytes in the middle, rewriting the file in place.
    Insert,
    /// Cuts the end off, or all of it.
    Truncate,
    /// Makes the file longer by a hole.
    Extend,
    /// Makes a hole in the middle.
    Punch,
    /// Writes a new file beside it and renames that over it, as editors save.
    AtomicSave,
    /// Gives a file another name, maybe in another directory.
    Rename,
    /// Gives a directory another name, maybe in another directory.
    RenameDir,
    /// Swaps two names in one step.
    Exchange,
    /// Removes a file.
    Delete,
    /// Removes a directory with everything below.
    DeleteDir,
    /// Removes a file and makes another of the same name.
    Recreate,
    /// Makes a new file.
    Create,
    /// Makes directories below each other with a file in each, at once.
    CreateDirs,
    /// Gives a file one more name.
    HardLink,
    /// Makes or replaces a symlink.
    Symlink,
    /// Sets permission bits.
    Chmod,
    /// Sets an extended attribute.
    SetXattr,
    /// Sets only the modification time, of a file or directory.
    Touch,
    /// Writes other bytes of the same length and sets the modification time back.
    Forge,
    /// Renames a file over another.
    RenameOver,
    /// Saves a file as some program does.
    Save(Program),
    /// Stores through a mapping that goes at once.
    MapStore,
    /// The same with `msync` in between.
    MapSync,
    /// Stores through a mapping that stays.
    MapKeep,
    /// Stores through a mapping that stayed.
    MapAgain,
    /// Writes to a file and keeps it open.
    OpenKeep,
    /// Writes to a file that was kept open, whatever became of its name.
    WriteAgain,
    /// Makes a file without a name, and links it into the tree.
    Nameless,
    /// The same, and writes to it later.
    NamelessKeep,
    /// Removes an extended attribute.
    RemoveXattr,
    /// Sets an access control list.
    SetAcl,
    /// Gives a file or directory to somebody; needs root.
    Chown,
    /// Makes entries with names that are no text, or as long as names can be.
    RawNames,
    /// Makes directories to a depth near the longest path.
    DeepDirs,
    /// Makes more files in a new directory than are looked at one by one.
    Burst,
    /// Makes a file that is gone at once.
    ShortLived,
    /// Removes a directory with everything below and makes it anew with something else in it.
    RecreateDir,
    /// A file makes room for a directory or symlink of its name, or for a fifo beside it.
    ChangeType,
    /// Replaces a symlink by renaming another over it.
    ReplaceSymlink,
    /// Moves a directory out of the root.
    MoveOut,
    /// Changes something in what was moved out.
    EditOutside,
    /// Moves back in what was moved out.
    MoveIn,
}

/// All edits that can be made on any tree.
pub const EDITS: [Edit; 48] = [
    Edit::Append,
    Edit::Overwrite,
    Edit::Insert,
    Edit::Truncate,
    Edit::Extend,
    Edit::Punch,
    Edit::AtomicSave,
    Edit::Rename,
    Edit::RenameDir,
    Edit::Exchange,
    Edit::Delete,
    Edit::DeleteDir,
    Edit::Recreate,
    Edit::Create,
    Edit::CreateDirs,
    Edit::HardLink,
    Edit::Symlink,
    Edit::Chmod,
    Edit::SetXattr,
    Edit::Touch,
    Edit::Forge,
    Edit::RenameOver,
    Edit::Save(Program::VimByRename),
    Edit::Save(Program::VimInPlace),
    Edit::Save(Program::Emacs),
    Edit::Save(Program::Sed),
    Edit::Save(Program::LibreOffice),
    Edit::MapStore,
    Edit::MapSync,
    Edit::MapKeep,
    Edit::MapAgain,
    Edit::OpenKeep,
    Edit::WriteAgain,
    Edit::Nameless,
    Edit::NamelessKeep,
    Edit::RemoveXattr,
    Edit::SetAcl,
    Edit::Chown,
    Edit::RawNames,
    Edit::DeepDirs,
    Edit::Burst,
    Edit::ShortLived,
    Edit::RecreateDir,
    Edit::ChangeType,
    Edit::ReplaceSymlink,
    Edit::MoveOut,
    Edit::EditOutside,
    Edit::MoveIn,
];
