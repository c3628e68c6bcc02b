//! The same for what makes a guest out of another one, or carries one, or
//! files of one, away.

pub(in crate::cli) const CLONE: &str = "\
Examples:
  vserver clone web web2
  vserver clone web web2 --address 192.0.2.11 --hostname web2.example.org
  vserver clone web web2 --snapshot v1 --storage overlay
  vserver clone web web2 --storage image --size 4G --filesystem xfs

Blocks are shared until one of both writes to them, where the file system can
do that. The new guest has a context, a range of ids, a host name, a machine-id
and ssh host keys of its own; passwords and all other files are the other
guest's.";

pub(in crate::cli) const RENAME: &str = "\
Examples:
  vserver rename web shop

Context, ids, root directory, logs and account stay the guest's; its files
aren't touched. The name inside follows if no 'hostname' is configured.";

pub(in crate::cli) const EXPORT: &str = "\
Examples:
  vserver export web web.tar.zst
  vserver export web - | ssh other vserver import -

The file holds the configuration, the actions and all files, with owners,
times, extended attributes, access lists, capabilities, hard links and holes.
It is a tar archive compressed with zstd, which 'tar -tf' shows; it ends with a
checksum. Whoever can read it can read the guest's password file.";

pub(in crate::cli) const IMPORT: &str = "\
Examples:
  vserver import web.tar.zst
  vserver import web.tar.zst web2 --new-identity --address 192.0.2.11
  ssh other vserver export web - | vserver import -

The guest is the one that was exported: name, host name, keys, addresses, and
its context if that is free here. With --new-identity it is a copy, as with
'vserver clone'. Nothing is left of an archive that is damaged or cut off.";

pub(in crate::cli) const MOVE: &str = "\
Examples:
  vserver move web root@other
  vserver move web other --dry-run
  vserver move web other --address 192.0.2.11 --delete
  vserver move web other --ssh-option Port=2222 --ssh-option User=root

First the other host is asked: is vserver there, does it take a guest of this
name and configuration? Then the guest's files are sent while it runs, it is
stopped, and what has changed since is sent; it is down for its shutdown, that,
and its boot. The other host has it when the whole archive has come, with the
right checksum, and is on its disk. Then it is started there if it ran here. A
guest in an image or over a base is stopped before its files are sent.

Here it stays as it was, stopped, and is no longer started with the host; with
--delete it is deleted. If anything fails before the other host has it, nothing
of it is there, and here it goes on, or is started again if it was stopped
already. It is started here again, too, if it doesn't start there.

ssh must get in without asking (BatchMode), unless an --ssh-option says
otherwise. Snapshots, logs and the account stay here.";

pub(in crate::cli) const CP: &str = "\
Examples:
  vserver cp index.html web:/srv/www
  vserver cp web:/var/log/syslog web:/etc/hosts .
  vserver cp -a web:/srv/data/. /srv/saved
  vserver cp ./a:b web:/root           a path of the host's with a colon

The guest may run or not. One that runs is copied to and from as it sees itself:
/tmp and what else is mounted in it, too. Paths count from the guest's root, and
no link leads out of it.

As with cp(1), a DST that is a directory takes SRC in, and is otherwise its new
name; SRC/. is what is in a directory. A link is copied as a link; with a slash
behind it, it is the directory that it leads to. A directory is put into one of
the same name, which keeps its owner and permissions. A file or link that is
there is replaced.

Kept are permissions, times, holes, hard links among the files, and 'user.'
attributes. Owners are root's, the guest's own on the way in, without
set-user-id and set-group-id bits, access lists and capabilities: a program out
of a guest would have the host's root run what the guest has written. With
--archive they are kept; ids are those of inside, 0 to 65535, and what the other
side doesn't have becomes nobody's. Sockets, and device nodes, are left out and
named; device nodes come out of a guest with --archive.

A file appears whole or not at all, and a new directory with all that is in it:
after an error or Ctrl-C nothing of it is there.";

pub(in crate::cli) const SNAPSHOT: &str = "\
Examples:
  vserver snapshot create web before-upgrade
  vserver snapshot list web
  vserver snapshot restore web before-upgrade

A guest that runs stands still while it is copied; where the file system shares
blocks (btrfs, xfs) that is a moment, elsewhere as long as copying takes. A
snapshot holds the files below the guest's root, not its configuration.";

pub(in crate::cli) const UNIFY: &str = "\
Examples:
  vserver unify --all
  vserver unify web --dry-run
  vserver unify web --exclude /srv --exclude +/var/spool/big

Where the file system can share blocks (btrfs, xfs with reflink=1), the kernel
compares two files and lets them lie in the same blocks; whoever writes to one
gets blocks of its own. So no guest can change what another sees: names, owners,
times and links stay, packages are upgraded as ever, and guests may run. Guests
that aren't named lend their blocks, and stay as they are. Repeated, it looks
only at what isn't shared yet.

'unify.exclude' in a guest's configuration says what is passed by. Interrupted,
it says what was done, which stays. Exit code 1 if a guest's file system can't
share blocks; guests in images and over a base are passed by.";

pub(in crate::cli) const QUOTA: &str = "\
Examples:
  vserver quota web                    what its users have and may have
  vserver quota web www-data 2G --soft 1800M
  vserver quota web mail --files 100000
  vserver quota web www-data max --soft max

The file system of the guest's image keeps the limits, whether the guest runs or
not; who is at one gets EDQUOT. Files count for their owner. root is held to its
own, too, and can give its files to others. A copy that isn't one of the image,
as made by 'export' or 'clone --storage directory', has no limits.";
