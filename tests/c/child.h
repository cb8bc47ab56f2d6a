/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs in a child; true when it says so. */
static inline bool in_child(bool (*work)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        _exit(work() ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)
           && WEXITSTATUS(status) == 0;
}

#endif
