#!/usr/bin/perl
# What a root in a container can see and do, one finding a line, sorted: the
# questions that container auditors ask. Only looks and tries: nothing that
# succeeds changes anything. Needs perl-base, which every Debian has.
use strict;
use warnings;
use Errno qw(EPERM EACCES ENOSYS);
use Fcntl;
use File::Find;

my %found;
sub found { $found{ join ': ', @_ } = 1 }

# Identity: capabilities in the set that bounds all, and the user namespace.
my @capabilities = qw(chown dac_override dac_read_search fowner fsetid kill setgid setuid
    setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner
    sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource
    sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin
    syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore);
open my $status, '<', '/proc/self/status' or die "no /proc/self/status: $!";
my %status = map { /^(\w+):\s+(.*)/ ? ( $1, $2 ) : () } <$status>;
my $bounding = hex $status{CapBnd};
for my $number ( 0 .. $#capabilities ) {
    found( 'capability', $capabilities[$number] ) if $bounding >> $number & 1;
}
found( 'missing', 'system call filter' ) if ( $status{Seccomp} // 0 ) == 0;
open my $map, '<', '/proc/self/uid_map' or die "no uid_map: $!";
my ( undef, $outside ) = split ' ', <$map>;
found( 'root is', "root of the host's" ) if $outside == 0;

# System calls that answer otherwise than with a refusal. The arguments are
# such that none can succeed, but for namespaces, which a child makes.
my %calls = (
    mount => 165, umount2 => 166, pivot_root => 155, open_tree => 428, move_mount => 429,
    fsopen => 430, fsconfig => 431, fsmount => 432, fspick => 433, mount_setattr => 442,
    swapon => 167, swapoff => 168, init_module => 175, finit_module => 313, delete_module => 176,
    bpf => 321, perf_event_open => 298, add_key => 248, request_key => 249, keyctl => 250,
    userfaultfd => 323, io_uring_setup => 425, name_to_handle_at => 303, open_by_handle_at => 304,
    acct => 163, settimeofday => 164, clock_settime => 227, clock_adjtime => 305,
    syslog => 103, quotactl => 179, iopl => 172, ioperm => 173, setns => 308,
    process_vm_readv => 310, process_vm_writev => 311, kcmp => 312, fanotify_init => 300,
    move_pages => 279, migrate_pages => 256, modify_ldt => 154, lookup_dcookie => 212,
    kexec_load => 246, pidfd_getfd => 438, sethostname => 170, setdomainname => 171,
    personality => 135, ustat => 136, sysfs => 139, nfsservctl => 180, uselib => 134,
);
my $nowhere = "/nonexistent\0";
for my $name ( sort keys %calls ) {
    my @arguments = (-1) x 5;
    @arguments = ( $nowhere, 0 ) if $name =~ /^(swapon|swapoff|acct)$/;
    $! = 0;
    syscall $calls{$name}, @arguments;
    found( 'system call', $name ) unless $! == EPERM || $! == EACCES || $! == ENOSYS;
}
my %namespaces = (
    mount => 0x20000, cgroup => 0x2000000, uts => 0x4000000, ipc => 0x8000000,
    user => 0x10000000, pid => 0x20000000, network => 0x40000000, time => 0x80,
);
for my $name ( sort keys %namespaces ) {
    my $child = fork // die "cannot fork: $!";
    exit( syscall( 272, $namespaces{$name} ) == 0 ? 0 : 1 ) if $child == 0;
    waitpid $child, 0;
    found( 'new namespace', $name ) if $? == 0;
}

# Kernel files that can be opened for writing, by directory.
my @trees = ( glob('/proc/[a-z]*'), '/sys' );
find(
    {
        no_chdir => 1,
        wanted   => sub {
            my $path = $File::Find::name;
            if ( -l $path || $path =~ m{^/proc/(self|thread-self)$} ) { $File::Find::prune = 1; return }
            # A directory that can't be looked into is no finding.
            if ( -d _ && !-x _ ) { $File::Find::prune = 1; return }
            # Its own cgroup.
            if ( $path eq '/sys/fs/cgroup' ) { $File::Find::prune = 1; return }
            # What nobody may write by its mode takes no writes from root either.
            return unless -f _ && ( stat _ )[2] & 0222;
            sysopen my $file, $path, O_WRONLY | O_NONBLOCK or return;
            my @parts = split m{/}, $path;
            my $depth = $path =~ m{^/proc/sys/net} ? 3 : 4;
            found( 'writable', join '/', @parts[ 0 .. ( $#parts < $depth ? $#parts : $depth ) ] );
        },
    },
    grep { !m{^/proc/(self|thread-self)$} } @trees
);

# Files about the host, and its kernel's inside. Not /proc/locks, which names
# only locks of processes that the reader sees.
for my $path (
    map( "/proc/$_", qw(kcore kmsg keys key-users timer_list sched_debug kallsyms kpagecount
            kpageflags kpagecgroup slabinfo vmallocinfo config.gz iomem ioports mtrr pagetypeinfo
            modules diskstats partitions mdstat swaps interrupts softirqs zoneinfo buddyinfo
            vmstat consoles execdomains misc dma latency_stats schedstat
            acpi/wakeup scsi/scsi sysvipc/shm) ),
    glob('/proc/asound/* /proc/driver/* /proc/tty/driver/*'),
    map( "/sys/$_", qw(firmware/acpi/tables/DSDT firmware/dmi/tables/DMI kernel/notes
            kernel/vmcoreinfo kernel/debug/sched/debug kernel/security/lsm kernel/tracing/trace
            kernel/uevent_helper class/dmi/id/product_name power/state
            class/powercap/intel-rapl/enabled devices/virtual/powercap/uevent
            kernel/slab/kmalloc-64/slabs kernel/btf/vmlinux fs/selinux/enforce) )
  )
{
    sysopen my $file, $path, O_RDONLY | O_NONBLOCK or next;
    my $bytes = sysread $file, my $text, 64;
    next unless $bytes;
    next if $path eq '/proc/kallsyms' && $text =~ /^0{16} /;
    found( 'readable', $path );
}

# Devices: what is there and can be opened, and what can be made.
find(
    {
        no_chdir => 1,
        wanted   => sub {
            my $path = $File::Find::name;
            return unless -b $path || -c $path;
            return if $path =~ m{^/dev/pts/};
            sysopen my $file, $path, O_RDWR | O_NONBLOCK | O_NOCTTY or return;
            found( 'device', $path );
        },
    },
    '/dev'
);
for my $device ( [ 'block', 0060000, 8, 0 ], [ 'character', 0020000, 1, 1 ] ) {
    my ( $kind, $type, $major, $minor ) = @$device;
    my $path = "/tmp/audit-$$\0";
    found( 'device made', $kind ) if syscall( 133, $path, $type | 0600, $major << 8 | $minor ) == 0;
    unlink substr $path, 0, -1;
}

# File systems, and sockets of managers.
open my $mounts, '<', '/proc/self/mountinfo' or die "no mountinfo: $!";
while (<$mounts>) {
    my ( $own, $rest ) = split / - /;
    my ( $where, $options ) = ( split ' ', $own )[ 4, 5 ];
    my ($type) = split ' ', $rest;
    found( 'writable mount', "$type on $where" )
        if $options =~ /\brw\b/ && $where !~ m{^/dev/} && $type !~ /^(tmpfs|devpts|mqueue|proc|sysfs)$/ && $where ne '/';
}
for my $path (qw(/run/docker.sock /run/containerd/containerd.sock /run/host /run/systemd/private)) {
    found( 'socket', $path ) if -S $path;
}
open my $first, '<', '/proc/1/cgroup' or die "no /proc/1/cgroup: $!";
found( 'cgroup v1', $_ ) for map { /^[1-9]\d*:([^:]*):/ ? $1 : () } <$first>;

print "$_\n" for sort keys %found;
