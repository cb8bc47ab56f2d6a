# SPDX-License-Identifier: Apache-2.0

# P11_TRY_CFLAG(VARIABLE, FLAG): adds the flag where the compiler knows it.
AC_DEFUN([P11_TRY_CFLAG], [
    AC_MSG_CHECKING([whether $CC accepts $2])
    p11_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
        [AC_MSG_RESULT([yes]); $1="$$1 $2"],
        [AC_MSG_RESULT([no])])
    CFLAGS=$p11_save_CFLAGS
])

# P11_TRY_LDFLAG(VARIABLE, FLAG): the same for a flag of the linker.
AC_DEFUN([P11_TRY_LDFLAG], [
    AC_MSG_CHECKING([whether the linker accepts $2])
    p11_save_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM()],
        [AC_MSG_RESULT([yes]); $1="$$1 $2"],
        [AC_MSG_RESULT([no])])
    LDFLAGS=$p11_save_LDFLAGS
])

# P11_FORTIFY(VARIABLE): _FORTIFY_SOURCE, where it can work: it needs an
# optimising compiler, hides errors from sanitizers, and a level that the
# compiler or the user has chosen already stays.
AC_DEFUN([P11_FORTIFY], [
    AC_MSG_CHECKING([whether to define _FORTIFY_SOURCE])
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#if !defined(__OPTIMIZE__) || defined(_FORTIFY_SOURCE) \
    || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
# error not here
#endif
        ]])],
        [AS_IF([test "$sanitizers" != none],
            [AC_MSG_RESULT([no])],
            [AC_MSG_RESULT([yes]); $1="$$1 -D_FORTIFY_SOURCE=2"])],
        [AC_MSG_RESULT([no])])
])
