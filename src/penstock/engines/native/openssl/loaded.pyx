"""The OpenSSL that Python's `_ssl` has loaded, and where an `ssl.SSLObject` keeps its `SSL*`: found, compared, else left alone.

A second copy of OpenSSL in a process has structures of its own: a pointer of one in a function of the other corrupts memory. So
functions are looked up through the handle of `_ssl` itself, and where something that is global answers to the same name it has to be the
same function. What cannot be shown to be right is a reason to leave TLS to `ssl`, never an error.
"""

import ssl
import sys
import sysconfig

import _ssl

from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <dlfcn.h>

    /* How a PySSLSocket of CPython begins, from 3.11 to 3.13: Modules/_ssl.c. */
    typedef struct {
        PyObject_HEAD
        PyObject *socket;
        void *ssl;
        PyObject *context;
        char shutdown_seen_zero;
        int socket_type;
        PyObject *owner;
        PyObject *hostname;
    } penstock_ssl_socket;

    static void *penstock_global(const char *name) { return dlsym(RTLD_DEFAULT, name); }
    """
    ctypedef struct penstock_ssl_socket:
        PyObject* socket
        void* ssl
        PyObject* context
        PyObject* hostname
    enum:
        RTLD_LAZY
        RTLD_NOLOAD
    void* dlopen(const char* path, int flags)
    void* dlsym(void* handle, const char* name)
    void* penstock_global(const char* name)

# The sizes of a PySSLSocket, by version of CPython, whose beginning is the structure above.
SIZES = {(3, 11): 96, (3, 12): 80, (3, 13): 80}

cdef unsigned long OLDEST = 0x10101000, NEWER = 0x40000000  # OpenSSL 1.1.1 and, not any more, 4.0

cdef object missing = "it was not looked for"


def why_not():
    """Return why records cannot pass in compiled code here, in a few words; None when they can."""
    return missing


def version():
    """Return what OpenSSL calls itself."""
    return (<bytes>openssl.version_text(0)).decode("ascii", "replace")


cdef void* ssl_of(object session) except? NULL:
    """Return the `SSL*` of an `ssl.SSLObject` between two buffers; NULL where that is not what it looks like."""
    cdef penstock_ssl_socket* fields
    inner = getattr(session, "_sslobj", None)
    if type(inner) is not _ssl._SSLSocket:
        return NULL
    fields = <penstock_ssl_socket*><PyObject*>inner
    context = inner.context
    hostname = inner.server_hostname
    if (
        fields.socket != NULL or fields.ssl == NULL or <uintptr_t>fields.ssl % sizeof(void*)
        or fields.context != <PyObject*>context
        or (fields.hostname != NULL if hostname is None else fields.hostname != <PyObject*>hostname)
    ):
        return NULL
    return fields.ssl if openssl.ssl_get_ex_data(fields.ssl, 0) == <void*><PyObject*>inner else NULL


def look():
    """Find everything. Return what is missing, or None."""
    expected = SIZES.get(sys.version_info[:2])
    if sys.implementation.name != "cpython" or expected is None:
        return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]} is not known"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "getobjects"):
        return "this build of Python is not known"
    if _ssl._SSLSocket.__basicsize__ != expected:
        return "this build of Python's ssl is not known"
    path = getattr(_ssl, "__file__", None)
    if path is None:
        return "OpenSSL is part of this Python's own program"
    found = find(path)
    if found is not None:
        return found
    if openssl.version_num() != ssl.OPENSSL_VERSION_NUMBER or not OLDEST <= openssl.version_num() < NEWER:
        return "this version of OpenSSL is not known"
    if not (<bytes>openssl.version_text(0)).startswith(b"OpenSSL "):
        return "Python's ssl uses another library than OpenSSL"
    return compare()


cdef object find(str path):
    """Look every function up. Return what is missing, or None."""
    cdef void* handle = dlopen(path.encode(), RTLD_LAZY | RTLD_NOLOAD)
    cdef void** place = <void**>&openssl
    cdef void* function
    cdef void* other
    if handle == NULL:
        return "Python's ssl cannot be opened"
    for index, name in enumerate(NAMES):
        function = dlsym(handle, name)
        if function == NULL:
            return f"Python's ssl shows no {name.decode()}"
        other = penstock_global(name)
        if other != NULL and other != function:
            return "this process has two copies of OpenSSL"
        place[index] = function
    return None


# In the order of the structure.
NAMES = (
    b"OpenSSL_version_num", b"OpenSSL_version", b"SSL_read_ex", b"SSL_write_ex", b"SSL_get_error", b"SSL_get_ex_data",
    b"SSL_get_SSL_CTX", b"SSL_set_bio", b"SSL_get_rbio", b"SSL_set_read_ahead", b"SSL_set_msg_callback", b"SSL_in_init",
    b"SSL_ctrl", b"SSL_free_buffers", b"SSL_shutdown", b"SSL_CTX_get_options", b"SSL_CTX_get_verify_mode", b"ERR_peek_last_error",
    b"ERR_clear_error", b"ERR_reason_error_string",
    b"BIO_get_new_index", b"BIO_meth_new", b"BIO_meth_set_read", b"BIO_meth_set_write", b"BIO_meth_set_ctrl", b"BIO_new",
    b"BIO_free", b"BIO_up_ref", b"BIO_set_init", b"BIO_set_data", b"BIO_get_data", b"BIO_set_flags", b"BIO_clear_flags",
)
assert len(NAMES) * sizeof(void*) == sizeof(OpenSsl)


cdef object compare():
    """Compare what OpenSSL says of a session's pointers with what Python says of them. Return what differs, or None."""
    cdef void* pointer
    cdef void* context_pointer
    for mode, extra in ((ssl.CERT_NONE, 0), (ssl.CERT_OPTIONAL, ssl.OP_NO_TICKET)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = mode
        context.options |= extra
        session = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="layout.invalid")
        pointer = ssl_of(session)
        if pointer == NULL:
            return "the layout of this Python's ssl is not known"
        context_pointer = openssl.ssl_get_ctx(pointer)
        if (
            context_pointer == NULL
            or (openssl.ctx_get_options(context_pointer) ^ int(context.options)) & 0xFFFFFFFF
            or openssl.ctx_get_verify_mode(context_pointer) != int(mode)
        ):
            return "the layout of this Python's ssl is not the one it looks like"
    return None


missing = look()
