/* Tries what a server must not reach, and prints what it got: a name, a tab, and either OK or the
   name of the error. To be run nowhere but in a sandbox; what would change a machine is asked for in
   a way that a machine that permits it finds invalid. Arguments: a process of another
   server, a file of another model's, the name of an abstract socket of the host's, the other server's
   port, a file of the host's. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void got(const char *what, long result) {
    printf("%s\t%s\n", what, result < 0 ? strerrorname_np(errno) : "OK");
    fflush(stdout);
}

static long reading(const char *path) {
    char byte;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return -1;
    long length = read(file, &byte, 1);
    if (length == 0) { length = -1; errno = ENODATA; }
    close(file);
    return length;
}

static long writing(const char *path) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file >= 0) close(file);
    return file;
}

/* What a child does that it then can't undo; it exits with the error's number. */
static long in_child(long (*act)(void *), void *with) {
    int status;
    pid_t child = fork();
    if (child == 0) { errno = 0; _exit(act(with) < 0 ? errno : 0); }
    if (waitpid(child, &status, 0) < 0) return -1;
    if (WIFSIGNALED(status)) { errno = EINTR; return -1; }
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

static long unsharing(void *flags) { return unshare((int)(intptr_t)flags); }
static long cloning(void *flags) {
    long pid = syscall(SYS_clone, (intptr_t)flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    return pid;
}
static long becoming(void *user) { return setuid((uid_t)(intptr_t)user); }
static long changing_root(void *where) { return chroot(where); }

static long typing(void *upper) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) || unlockpt(terminal)) return 0 * (errno = ENOTTY) - 1;
    int end = ioctl(terminal, 0x5441 /* TIOCGPTPEER */, O_RDWR);
    setsid();
    if (end < 0 || ioctl(end, TIOCSCTTY, 0)) return 0 * (errno = ENOTTY) - 1;
    return syscall(SYS_ioctl, end, (uintptr_t)upper | TIOCSTI, "x");
}

static long connecting(const char *name) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (s < 0) return s;
    memcpy(to.sun_path + 1, name, strlen(name));
    return connect(s, (void *)&to, sizeof(sa_family_t) + 1 + strlen(name));
}

static long calling(int port) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return s < 0 ? s : connect(s, (void *)&to, sizeof to);
}

/* Every capability in any set, of this program. */
static int capabilities(void) {
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = { { 0 } };
    syscall(SYS_capget, &head, sets);
    int any = 0;
    for (int i = 0; i < 2; i++) any |= sets[i].effective | sets[i].permitted | sets[i].inheritable;
    for (int c = 0; c < 64; c++) {
        any |= prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1;
        any |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1;
    }
    return any != 0;
}

static long gaining(void *unused) {
    execl("/bin/suid", "suid", "capabilities", (char *)0);
    return -1;
}

int main(int argc, char **argv) {
    if (argc == 2) return capabilities() || geteuid() != getuid() ? 0 : EPERM;
    pid_t host = atoi(argv[1]);
    char of_host[64], text[4096];

    long open_ones = 0;
    for (int fd = 3; fd < 1024; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
    got("use an inherited file", open_ones ? 0 : ((errno = EBADF), -1));
    /* 1: tell the version. Linux 6.12 has the sixth. */
    long landlock = syscall(SYS_landlock_create_ruleset, 0, 0, 1);
    got("be kept in a scope", landlock >= 6 ? 0 : ((errno = ENOSYS), -1));
    got("see another server's process", kill(host, 0));
    sprintf(of_host, "/proc/%d/environ", host);
    got("read the environment of another server's process", reading(of_host));
    got("read the supervisor's environment", reading("/proc/1/environ"));
    got("read the supervisor's memory", reading("/proc/1/mem"));
    struct iovec here = { text, 8 }, there = { (void *)0x400000, 8 };
    got("copy the supervisor's memory", process_vm_readv(getppid(), &here, 1, &there, 1, 0));
    got("trace the supervisor", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    got("write to the supervisor's program", writing("/proc/1/exe"));
    got("read the supervisor's root", reading("/proc/1/root/etc/passwd"));
    got("kill the first process", kill(1, SIGKILL));

    got("read a file of the host's", reading(argv[5]));
    got("read another model's volume", reading(argv[2]));
    got("write to a volume that is read-only", open("/read-only/new", O_WRONLY | O_CREAT, 0600));
    got("write to what is mounted below one", open("/machine/shm/probe", O_WRONLY | O_CREAT, 0600));
    got("write into the root", open("/new", O_WRONLY | O_CREAT, 0600));
    got("leave the root", in_child(changing_root, "/tmp"));
    got("mount", mount("none", "/tmp", "tmpfs", 0, 0));
    got("mount over what is read-only", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    got("unmount", umount2("/proc", MNT_DETACH));
    got("open a tree of mounts", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    got("change the root's mount", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    got("open a file by its handle", syscall(SYS_open_by_handle_at, AT_FDCWD, text, O_RDONLY));

    got("make a user namespace", in_child(unsharing, (void *)CLONE_NEWUSER));
    got("make a mount namespace", in_child(unsharing, (void *)CLONE_NEWNS));
    got("start a process in a user namespace", in_child(cloning, (void *)CLONE_NEWUSER));
    got("start a process with clone3", syscall(SYS_clone3, text, 0));
    got("enter a namespace", syscall(SYS_setns, 0, 0));

    struct io_uring_params ring = { 0 };
    got("queue work with io_uring", syscall(SYS_io_uring_setup, 1, &ring));
    got("look into the keyring", syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3, 1));
    got("add a key", syscall(SYS_add_key, "user", "goatbuild", "x", 1, -3));
    got("ask for a key", syscall(SYS_request_key, "user", "goatbuild", 0, 0));
    got("load a program into the kernel", syscall(SYS_bpf, 0, text, 0));
    struct perf_event_attr event = { .size = sizeof event };
    got("count events", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
    got("answer page faults", syscall(SYS_userfaultfd, 1 /* USER_MODE_ONLY */));
    got("load a module", syscall(SYS_finit_module, 0, "", 0));
    got("load a kernel", syscall(SYS_kexec_load, 0, 0, 0, 0));
    got("restart the machine", syscall(SYS_reboot, 0, 0, 0, 0));
    got("swap", syscall(SYS_swapon, "/tmp", 0));
    got("set the clock", syscall(SYS_clock_settime, CLOCK_MONOTONIC, text));
    got("read the kernel's log", syscall(SYS_syslog, 3, text, 64));
    got("name the machine", sethostname("x", -1));
    got("make addresses predictable", personality(ADDR_NO_RANDOMIZE));
    got("make a call that nobody knows", syscall(4000));

    got("make a device", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    got("read a disk", reading("/dev/sda"));
    got("read the machine's memory", reading("/dev/mem"));
    got("read the kernel's memory", reading("/proc/kcore"));
    got("list keys", reading("/proc/keys"));
    got("list timers", reading("/proc/timer_list"));
    got("count interrupts", reading("/proc/interrupts"));
    got("list the firmware", open("/sys/firmware/acpi", O_RDONLY) < 0 ? -1 : 0);
    got("change the kernel's settings", writing("/proc/sys/kernel/core_pattern"));
    got("press SysRq", writing("/proc/sysrq-trigger"));
    got("change a device's settings", writing("/sys/power/state"));

    got("have a capability", capabilities() ? 0 : ((errno = EPERM), -1));
    got("become somebody else", in_child(becoming, (void *)65534));
    int from = open("/bin/probe", O_RDONLY), to = open("/volume/suid", O_WRONLY | O_CREAT, 0700);
    for (long n; (n = read(from, text, sizeof text)) > 0;) write(to, text, n);
    close(from);
    got("make a set-user program", fchmod(to, 04755));
    got("make a set-user program by its name", chmod("/volume/suid", 04755));
    got("make a set-user program at once", open("/volume/new", O_WRONLY | O_CREAT, 04755));
    got("make a set-user program without a name", open("/volume", O_TMPFILE | O_WRONLY, 04755));
    got("make a set-group program", fchmod(to, 02755));
    got("make a set-group program by its name", chmod("/volume/suid", 02755));
    got("make a set-group program at once", open("/volume/new", O_WRONLY | O_CREAT, 02755));
    got("make a set-group program without a name", open("/volume", O_TMPFILE | O_WRONLY, 02755));
    got("make a set-group node", mknod("/volume/node", S_IFREG | 02755, 0));
    got("ask for a file in a roundabout way", syscall(SYS_openat2, -1, "/", 0, 0));
    close(to);
    got("gain by a set-user program", in_child(gaining, 0));
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    got("dump memory", core.rlim_max > 1 ? 0 : ((errno = EPERM), -1));
    got("have a terminal", open("/dev/tty", O_RDWR));
    got("type into a terminal", in_child(typing, 0));
    got("type into a terminal, in a roundabout way", in_child(typing, (void *)(1UL << 32)));

    got("send raw packets", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    got("read the wire", socket(AF_PACKET, SOCK_RAW, 0));
    got("talk to the hypervisor", socket(40 /* AF_VSOCK */, SOCK_STREAM, 0));
    got("use the kernel's cryptography", socket(AF_ALG, SOCK_SEQPACKET, 0));
    got("call another server", calling(atoi(argv[4])));
    got("call an abstract socket of the host's", connecting(argv[3]));
    return 0;
}
