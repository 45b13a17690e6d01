/* Runs a program and records, in one order, everything that it does to the files below a folder: what the disk was told,
 * with its bytes, and what the program said meanwhile. It can also make one of these operations fail.
 *
 *   recorder LOG FOLDER SAID FAULT COUNT PROGRAM ARGUMENTS...
 *
 * LOG     is appended to. Layout below.
 * FOLDER  an absolute path without symbolic links.
 * SAID    a file; what the program writes there is recorded as its word ("acknowledged 7").
 * FAULT   none, eio, enospc, dead, full, short, torn: see `enum fault`.
 * COUNT   the operation that fails, counted from 1.
 *
 * The program is traced (ptrace), and a seccomp filter stops it only at the calls that matter; so system calls that
 * bypass the C library are seen too. Ways to write that would not be seen (shared writable mappings, io_uring, splicing)
 * are recorded as "strange": whoever reads the record must take it for a failure of the method.
 *
 * A record: length of what follows (u32), operation (u8), three numbers (u64 each), bytes. All in the machine's order.
 * Files and folders are named by inode number. A sync has a begin and an end: it covers what was recorded before the begin.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
/* Of the kernel, not of the C library: not every one has it. */
#include <linux/ptrace.h>

#define MAX_THREADS 512
#define CANNOT 125 /* exit code: this machine doesn't allow tracing */

enum operation {
    CREATE = 1, /* folder, inode, -; name */
    MKDIR = 2,
    WRITE = 3,    /* inode, offset, -; bytes */
    TRUNCATE = 4, /* inode, size, - */
    RENAME = 5,   /* folder, folder, inode; name, 0, name */
    LINK = 6,     /* folder, inode, -; name */
    REMOVE = 7,
    SYNC_BEGIN = 8, /* inode, token, - */
    SYNC_END = 9,
    SYNC_FAILED = 10,
    SAID = 11,    /* bytes */
    STRANGE = 12, /* what it was, in words */
    FAULT = 13    /* number of the operation, -, -; what it was, in words */
};

enum fault {
    NONE,
    EIO_ONCE,    /* the operation fails with EIO */
    ENOSPC_ONCE, /* with ENOSPC */
    DEAD,        /* it and all that follow fail with EIO */
    FULL,        /* it and the next FULL_FOR that need room fail with ENOSPC */
    SHORT,       /* the first write from there on writes half */
    TORN         /* as SHORT, and everything later on that file fails with EIO */
};
#define FULL_FOR 24

static const char *const FAULTS[] = {"none", "eio", "enospc", "dead", "full", "short", "torn"};

struct thread {
    pid_t tid;
    int nr; /* the call being followed to its end; -1: none */
    uint64_t args[6];
    char path[PATH_MAX], other[PATH_MAX];
    uint64_t inode, folder, token;
    int existed;
};

static struct thread threads[MAX_THREADS];
static FILE *out;
static const char *folder, *said;
static size_t folder_len;
static enum fault fault;
static long fault_at, counted;
static uint64_t torn_inode, tokens;

static void die(const char *what) {
    fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
    exit(CANNOT);
}

static void record(enum operation op, uint64_t a, uint64_t b, uint64_t c, const void *bytes, size_t len) {
    uint32_t total = (uint32_t)(1 + 3 * 8 + len);
    uint8_t code = (uint8_t)op;
    uint64_t numbers[3] = {a, b, c};
    if (fwrite(&total, 4, 1, out) != 1 || fwrite(&code, 1, 1, out) != 1 || fwrite(numbers, 8, 3, out) != 3 ||
        (len != 0 && fwrite(bytes, 1, len, out) != len))
        die("writing the record");
}

static void strange(const char *what) { record(STRANGE, 0, 0, 0, what, strlen(what)); }

static struct thread *thread_of(pid_t tid) {
    struct thread *unused = NULL;
    for (int n = 0; n < MAX_THREADS; n++) {
        if (threads[n].tid == tid) return &threads[n];
        if (threads[n].tid == 0 && unused == NULL) unused = &threads[n];
    }
    if (unused == NULL) {
        errno = EAGAIN;
        die("too many threads");
    }
    unused->tid = tid;
    unused->nr = -1;
    return unused;
}

static int inside(const char *path) {
    return strncmp(path, folder, folder_len) == 0 && (path[folder_len] == '/' || path[folder_len] == 0);
}

static uint64_t inode_of(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 ? st.st_ino : 0;
}

/* Where an open file of the program lies; empty when nowhere. */
static void path_of_fd(pid_t tid, int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/fd/%d", tid, fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    path[len > 0 ? len : 0] = 0;
}

static uint64_t inode_of_fd(pid_t tid, int fd, uint64_t *size) {
    char link[64];
    struct stat st;
    snprintf(link, sizeof link, "/proc/%d/fd/%d", tid, fd);
    if (stat(link, &st) != 0) return 0;
    if (size != NULL) *size = (uint64_t)st.st_size;
    return st.st_ino;
}

/* Where the program is in an open file. */
static uint64_t place_in_fd(pid_t tid, int fd) {
    char name[64];
    unsigned long long pos = 0;
    snprintf(name, sizeof name, "/proc/%d/fdinfo/%d", tid, fd);
    FILE *info = fopen(name, "r");
    if (info == NULL || fscanf(info, "pos: %llu", &pos) != 1) strange("a file without a position");
    if (info != NULL) fclose(info);
    return pos;
}

static size_t read_memory(pid_t tid, uint64_t at, void *to, size_t len) {
    struct iovec local = {to, len}, remote = {(void *)(uintptr_t)at, len};
    ssize_t got = process_vm_readv(tid, &local, 1, &remote, 1, 0);
    return got > 0 ? (size_t)got : 0;
}

/* The absolute path of a path argument. */
static void path_of(pid_t tid, int dirfd, uint64_t at, char *path) {
    char text[PATH_MAX] = "";
    /* Not beyond the page: the next one may not be there. */
    size_t len = 0, page = 4096;
    while (len < PATH_MAX - 1) {
        size_t step = page - (at + len) % page;
        if (step > PATH_MAX - 1 - len) step = PATH_MAX - 1 - len;
        size_t got = read_memory(tid, at + len, text + len, step);
        len += got;
        if (got == 0 || memchr(text + len - got, 0, got) != NULL) break;
    }
    text[len] = 0;
    if (text[0] == '/') {
        strcpy(path, text);
        return;
    }
    char base[PATH_MAX], link[64];
    if (dirfd == AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/%d/cwd", tid);
        ssize_t got = readlink(link, base, sizeof base - 1);
        base[got > 0 ? got : 0] = 0;
    } else {
        path_of_fd(tid, dirfd, base);
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, text) >= PATH_MAX) path[0] = 0;
}

static uint64_t parent_inode(const char *path) {
    char parent[PATH_MAX];
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) return 0;
    *slash = 0;
    return inode_of(parent);
}

static const char *name_in(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* What kind of operation a call is. */
enum sort { OTHER, OPENS, WRITES, CUTS, RENAMES, LINKS, REMOVES, MAKES, SYNCS, ODD };

static enum sort sort_of(int nr) {
    switch (nr) {
#ifdef SYS_open
    case SYS_open:
    case SYS_creat:
#endif
    case SYS_openat: return OPENS;
    case SYS_write:
    case SYS_pwrite64: return WRITES;
    case SYS_ftruncate:
    case SYS_fallocate: return CUTS;
#ifdef SYS_rename
    case SYS_rename:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2: return RENAMES;
#ifdef SYS_link
    case SYS_link:
#endif
    case SYS_linkat: return LINKS;
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
#endif
    case SYS_unlinkat: return REMOVES;
#ifdef SYS_mkdir
    case SYS_mkdir:
#endif
    case SYS_mkdirat: return MAKES;
    case SYS_fsync:
    case SYS_fdatasync: return SYNCS;
    case SYS_writev:
    case SYS_pwritev:
    case SYS_pwritev2:
    case SYS_truncate:
    case SYS_mmap:
    case SYS_io_uring_setup:
    case SYS_copy_file_range:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_symlinkat: return ODD;
    default: return OTHER;
    }
}

static const int WATCHED[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_rename, SYS_link, SYS_unlink, SYS_rmdir, SYS_mkdir,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_openat, SYS_write, SYS_pwrite64, SYS_ftruncate, SYS_fallocate, SYS_renameat2, SYS_linkat, SYS_unlinkat,
    SYS_mkdirat, SYS_fsync, SYS_fdatasync, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_truncate, SYS_mmap,
    SYS_io_uring_setup, SYS_copy_file_range, SYS_sendfile, SYS_splice, SYS_symlinkat};

/* Has the kernel skip the call and answer with an error. */
static void refuse(pid_t tid, int error) {
#if defined(__x86_64__)
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) != 0) die("reading registers");
    regs.orig_rax = (unsigned long long)-1;
    regs.rax = (unsigned long long)-(long long)error;
    if (ptrace(PTRACE_SETREGS, tid, 0, &regs) != 0) die("writing registers");
#elif defined(__aarch64__)
    struct user_regs_struct regs;
    struct iovec all = {&regs, sizeof regs};
    int none = -1;
    struct iovec call = {&none, sizeof none};
    if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &all) != 0) die("reading registers");
    regs.regs[0] = (unsigned long long)-(long long)error;
    if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &all) != 0 ||
        ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &call) != 0)
        die("writing registers");
#else
#error "the registers of this machine are not known here"
#endif
}

/* Has a write write less. */
static void shorten(pid_t tid, uint64_t len) {
    struct user_regs_struct regs;
#if defined(__x86_64__)
    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) != 0) die("reading registers");
    regs.rdx = len;
    if (ptrace(PTRACE_SETREGS, tid, 0, &regs) != 0) die("writing registers");
#else
    struct iovec all = {&regs, sizeof regs};
    if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &all) != 0) die("reading registers");
    regs.regs[2] = len;
    if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &all) != 0) die("writing registers");
#endif
}

static const char *const SORTS[] = {"other", "create", "write", "truncate", "rename", "link",
                                    "remove", "mkdir", "sync", "odd"};

static void note_fault(enum sort sort, const char *path, const char *how) {
    char text[PATH_MAX + 64];
    int len = snprintf(text, sizeof text, "%s %s: %s", SORTS[sort], path, how);
    record(FAULT, (uint64_t)counted, 0, 0, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
}

/* Counts an operation, and spoils it if it is the one. Returns whether it was refused. */
static int spoil(struct thread *t, enum sort sort, uint64_t inode, const char *path) {
    counted++;
    int grows = sort == WRITES || sort == CUTS || sort == OPENS || sort == MAKES || sort == LINKS;
    int error = 0;
    switch (fault) {
    case NONE: return 0;
    case EIO_ONCE: error = counted == fault_at ? EIO : 0; break;
    case ENOSPC_ONCE: error = counted == fault_at ? ENOSPC : 0; break;
    case DEAD: error = counted >= fault_at ? EIO : 0; break;
    case FULL: error = counted >= fault_at && counted < fault_at + FULL_FOR && grows ? ENOSPC : 0; break;
    case SHORT:
    case TORN:
        if (torn_inode != 0) {
            error = fault == TORN && inode == torn_inode ? EIO : 0;
        } else if (counted >= fault_at && sort == WRITES && t->args[2] > 1) {
            torn_inode = inode;
            note_fault(sort, path, "half of it");
            shorten(t->tid, t->args[2] / 2);
        }
        break;
    }
    if (error == 0) return 0;
    note_fault(sort, path, strerror(error));
    refuse(t->tid, error);
    return 1;
}

/* At the begin of a call. Returns whether its end matters. */
static int begin(struct thread *t) {
    pid_t tid = t->tid;
    uint64_t *args = t->args;
    enum sort sort = sort_of(t->nr);
    int dirfd = AT_FDCWD;
    switch (sort) {
    case OPENS: {
        int at = t->nr == SYS_openat;
        path_of(tid, at ? (int)args[0] : AT_FDCWD, args[at ? 1 : 0], t->path);
        if (!inside(t->path)) return 0;
        uint64_t flags = args[at ? 2 : 1];
#ifdef SYS_creat
        if (t->nr == SYS_creat) flags = O_CREAT | O_WRONLY | O_TRUNC;
#endif
        if ((flags & O_TMPFILE) == O_TMPFILE) strange("a file without a name");
        t->existed = inode_of(t->path) != 0;
        t->folder = parent_inode(t->path);
        t->token = flags;
        if (t->existed || !(flags & O_CREAT)) return (flags & O_TRUNC) != 0;
        return !spoil(t, sort, 0, t->path);
    }
    case WRITES:
        path_of_fd(tid, (int)args[0], t->path);
        if (strcmp(t->path, said) == 0) return 1;
        if (!inside(t->path)) return 0;
        t->inode = inode_of_fd(tid, (int)args[0], NULL);
        return !spoil(t, sort, t->inode, t->path);
    case CUTS:
        path_of_fd(tid, (int)args[0], t->path);
        if (!inside(t->path)) return 0;
        if (t->nr == SYS_fallocate && (args[1] & ~(uint64_t)FALLOC_FL_KEEP_SIZE) != 0) strange("a hole made by fallocate");
        t->inode = inode_of_fd(tid, (int)args[0], NULL);
        return !spoil(t, sort, t->inode, t->path);
    case SYNCS:
        path_of_fd(tid, (int)args[0], t->path);
        if (!inside(t->path)) return 0;
        t->inode = inode_of_fd(tid, (int)args[0], NULL);
        t->token = ++tokens;
        if (spoil(t, sort, t->inode, t->path)) {
            record(SYNC_FAILED, t->inode, t->token, 0, NULL, 0);
            return 0;
        }
        record(SYNC_BEGIN, t->inode, t->token, 0, NULL, 0);
        return 1;
    case RENAMES:
    case LINKS: {
        int at = t->nr == SYS_renameat2 || t->nr == SYS_linkat;
#ifdef SYS_renameat
        at = at || t->nr == SYS_renameat;
#endif
        path_of(tid, at ? (int)args[0] : AT_FDCWD, args[at ? 1 : 0], t->path);
        path_of(tid, at ? (int)args[2] : AT_FDCWD, args[at ? 3 : 1], t->other);
        if (!inside(t->path) && !inside(t->other)) return 0;
        if (!inside(t->path) || !inside(t->other)) strange("a name that moves in or out");
        if (t->nr == SYS_renameat2 && (args[4] & RENAME_EXCHANGE)) strange("two names exchanged");
        t->inode = inode_of(t->path);
        return !spoil(t, sort, t->inode, t->path);
    }
    case REMOVES:
    case MAKES: {
        int at = t->nr == SYS_unlinkat || t->nr == SYS_mkdirat;
        if (at) dirfd = (int)args[0];
        path_of(tid, dirfd, args[at ? 1 : 0], t->path);
        if (!inside(t->path)) return 0;
        t->inode = inode_of(t->path);
        t->folder = parent_inode(t->path);
        return !spoil(t, sort, t->inode, t->path);
    }
    case ODD:
        if (t->nr == SYS_io_uring_setup) {
            strange("io_uring");
            return 0;
        }
        if (t->nr == SYS_mmap) {
            if (!(args[2] & PROT_WRITE) || !(args[3] & MAP_SHARED) || (args[3] & MAP_ANONYMOUS)) return 0;
            path_of_fd(tid, (int)args[4], t->path);
        } else if (t->nr == SYS_truncate) {
            path_of(tid, AT_FDCWD, args[0], t->path);
        } else if (t->nr == SYS_symlinkat) {
            path_of(tid, (int)args[1], args[2], t->path);
        } else {
            path_of_fd(tid, (int)args[t->nr == SYS_copy_file_range || t->nr == SYS_splice ? 2 : 0], t->path);
        }
        if (inside(t->path)) strange("a way of writing that is not followed");
        return 0;
    default: return 0;
    }
}

static void record_write(struct thread *t, size_t len) {
    char *bytes = malloc(len + 1);
    if (bytes == NULL || read_memory(t->tid, t->args[1], bytes, len) != len) die("reading what was written");
    if (strcmp(t->path, said) == 0) {
        record(SAID, 0, 0, 0, bytes, len);
    } else {
        uint64_t at = t->nr == SYS_pwrite64 ? t->args[3] : place_in_fd(t->tid, (int)t->args[0]) - len;
        record(WRITE, t->inode, at, 0, bytes, len);
    }
    free(bytes);
}

/* At the end of a call. */
static void end(struct thread *t, int64_t result) {
    char both[2 * NAME_MAX + 3];
    switch (sort_of(t->nr)) {
    case OPENS: {
        if (result < 0) return;
        uint64_t inode = inode_of_fd(t->tid, (int)result, NULL);
        if (!t->existed) record(CREATE, t->folder, inode, 0, name_in(t->path), strlen(name_in(t->path)));
        else if (t->token & O_TRUNC) record(TRUNCATE, inode, 0, 0, NULL, 0);
        return;
    }
    case WRITES:
        if (result > 0) record_write(t, (size_t)result);
        return;
    case CUTS: {
        uint64_t size = 0;
        inode_of_fd(t->tid, (int)t->args[0], &size);
        if (result == 0) record(TRUNCATE, t->inode, size, 0, NULL, 0);
        return;
    }
    case SYNCS: record(result == 0 ? SYNC_END : SYNC_FAILED, t->inode, t->token, 0, NULL, 0); return;
    case RENAMES: {
        if (result != 0) return;
        int len = snprintf(both, sizeof both, "%s%c%s", name_in(t->path), 0, name_in(t->other));
        record(RENAME, parent_inode(t->path), parent_inode(t->other), t->inode, both, (size_t)len);
        return;
    }
    case LINKS:
        if (result == 0)
            record(LINK, parent_inode(t->other), t->inode, 0, name_in(t->other), strlen(name_in(t->other)));
        return;
    case REMOVES:
        if (result == 0) record(REMOVE, t->folder, t->inode, 0, name_in(t->path), strlen(name_in(t->path)));
        return;
    case MAKES:
        if (result == 0) record(MKDIR, t->folder, inode_of(t->path), 0, name_in(t->path), strlen(name_in(t->path)));
        return;
    default: return;
    }
}

static void filter_calls(void) {
    enum { COUNT = sizeof WATCHED / sizeof *WATCHED };
    struct sock_filter code[COUNT + 3];
    int n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < COUNT; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)WATCHED[i],
                                                 (unsigned char)(COUNT - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog program = {(unsigned short)n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("no new privileges");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) die("seccomp");
}

static void follow(pid_t tid, int status) {
    struct thread *t = thread_of(tid);
    int signal = WSTOPSIG(status), event = status >> 16;
    struct ptrace_syscall_info info;
    if (event == PTRACE_EVENT_SECCOMP) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) die("PTRACE_GET_SYSCALL_INFO");
        t->nr = (int)info.seccomp.nr;
        for (int n = 0; n < 6; n++) t->args[n] = info.seccomp.args[n];
        int to_its_end = begin(t);
        if (!to_its_end) t->nr = -1;
        ptrace(to_its_end ? PTRACE_SYSCALL : PTRACE_CONT, tid, 0, 0);
    } else if (signal == (SIGTRAP | 0x80)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) die("PTRACE_GET_SYSCALL_INFO");
        if (t->nr >= 0 && info.op == PTRACE_SYSCALL_INFO_EXIT) {
            end(t, info.exit.rval);
            t->nr = -1;
            ptrace(PTRACE_CONT, tid, 0, 0);
        } else {
            ptrace(PTRACE_SYSCALL, tid, 0, 0);
        }
    } else {
        /* New threads begin with a stop; other signals are the program's own. */
        int own = event != 0 || signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
        ptrace(PTRACE_CONT, tid, 0, own);
    }
}

int main(int argc, char **argv) {
    if (argc < 7) return fprintf(stderr, "recorder LOG FOLDER SAID FAULT COUNT PROGRAM...\n"), 2;
    folder = argv[2];
    folder_len = strlen(folder);
    said = argv[3];
    for (unsigned n = 0; n < sizeof FAULTS / sizeof *FAULTS; n++)
        if (strcmp(argv[4], FAULTS[n]) == 0) fault = (enum fault)n;
    fault_at = atol(argv[5]);
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) die("PTRACE_TRACEME");
        raise(SIGSTOP);
        filter_calls();
        execv(argv[6], argv + 6);
        die("exec");
    }
    out = fopen(argv[1], "ab");
    if (out == NULL) die("opening the record");
    int status, code = CANNOT;
    if (waitpid(child, &status, __WALL) < 0 || !WIFSTOPPED(status)) die("the program did not stop");
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, child, 0, options) != 0) die("PTRACE_SETOPTIONS");
    ptrace(PTRACE_CONT, child, 0, 0);
    for (pid_t tid; (tid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status)) {
            follow(tid, status);
            continue;
        }
        thread_of(tid)->tid = 0;
        if (tid == child) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return fclose(out) == 0 ? code : CANNOT;
}
