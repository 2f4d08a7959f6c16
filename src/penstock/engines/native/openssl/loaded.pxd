# OpenSSL's functions, declared by hand: what is built needs none of its headers, and runs with 1.1.1 and 3. An SSL, an SSL_CTX, a BIO
# and its method are opaque in all of them.

cdef enum:
    SSL_ERROR_NONE = 0
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    BIO_TYPE_SOURCE_SINK = 0x0400
    SSL_CTRL_MODE = 33
    SSL_CTRL_CLEAR_MODE = 78
    SSL_MODE_RELEASE_BUFFERS = 0x10

cdef struct OpenSsl:
    unsigned long (*version_num)() noexcept nogil
    const char* (*version_text)(int) noexcept nogil
    int (*ssl_read_ex)(void*, void*, size_t, size_t*) noexcept nogil
    int (*ssl_write_ex)(void*, const void*, size_t, size_t*) noexcept nogil
    int (*ssl_get_error)(const void*, int) noexcept nogil
    void* (*ssl_get_ex_data)(const void*, int) noexcept nogil
    void* (*ssl_get_ctx)(const void*) noexcept nogil
    void (*ssl_set_bio)(void*, void*, void*) noexcept nogil
    void* (*ssl_get_rbio)(const void*) noexcept nogil
    void (*ssl_set_read_ahead)(void*, int) noexcept nogil
    void (*ssl_set_msg_callback)(void*, void*) noexcept nogil
    int (*ssl_in_init)(const void*) noexcept nogil
    long (*ssl_ctrl)(void*, int, long, void*) noexcept nogil
    int (*ssl_free_buffers)(void*) noexcept nogil
    int (*ssl_shutdown)(void*) noexcept nogil
    unsigned long long (*ctx_get_options)(const void*) noexcept nogil
    int (*ctx_get_verify_mode)(const void*) noexcept nogil
    unsigned long (*err_peek_last_error)() noexcept nogil
    void (*err_clear_error)() noexcept nogil
    const char* (*err_reason)(unsigned long) noexcept nogil
    int (*bio_get_new_index)() noexcept nogil
    void* (*bio_meth_new)(int, const char*) noexcept nogil
    int (*bio_meth_set_read)(void*, void*) noexcept nogil
    int (*bio_meth_set_write)(void*, void*) noexcept nogil
    int (*bio_meth_set_ctrl)(void*, void*) noexcept nogil
    void* (*bio_new)(const void*) noexcept nogil
    int (*bio_free)(void*) noexcept nogil
    int (*bio_up_ref)(void*) noexcept nogil
    void (*bio_set_init)(void*, int) noexcept nogil
    void (*bio_set_data)(void*, void*) noexcept nogil
    void* (*bio_get_data)(void*) noexcept nogil
    void (*bio_set_flags)(void*, int) noexcept nogil
    void (*bio_clear_flags)(void*, int) noexcept nogil

cdef OpenSsl openssl

cdef void* ssl_of(object session) except? NULL
