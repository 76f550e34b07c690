// SPDX-License-Identifier: MIT
// cpu/soft_inverse.c: the kernel matrix between the landmarks of a head, and its inverse by
// Newton's iteration in f32. That is stopped long before it converges, so its start and the number
// of its steps are part of what the network computes.
#include "cpu/soft.h"

#include <math.h>

#define RIDGE 0.01f
#define SOFT_START 1.8
#define NORM_START 2.0
#define LARGEST_RESIDUAL 1.01f
#define TOGETHER_MIN 128 // landmarks: below that, waiting for each other costs what is won

// One head's memory, a slot of job->inverses.
typedef struct inverse {
    const sl_soft_job *job;
    size_t head, m, ld;
    float *kernel, *z, *other; // [m,ld]
    float *panels;
    float *sums;   // [m,d]
    float *scales; // [m]: 1/sqrt of K2's row sums
} inverse;

static size_t matrix_floats(const sl_soft_job *job)
{
    return job->m * job->ld;
}

static size_t panel_floats(const sl_soft_job *job)
{
    size_t square = job->kernels->pack_floats(job->m, job->m);
    return sl_soft_lines(square > job->product_floats ? square : job->product_floats);
}

size_t sl_soft_inverse_floats(const sl_soft_job *job)
{
    return 3 * matrix_floats(job) + panel_floats(job) + job->sum_floats + sl_soft_lines(job->m);
}

// With no more heads than slots each keeps its own: worker numbers may exceed the slots.
static inverse open_slot(const sl_soft_job *job, size_t head, unsigned worker)
{
    size_t slot = job->slots < job->heads ? worker : head;
    inverse v = { .job = job, .head = head, .m = job->m, .ld = job->ld };
    v.kernel = job->inverses + slot * job->inverse_floats;
    v.z = v.kernel + matrix_floats(job);
    v.other = v.z + matrix_floats(job);
    v.panels = v.other + matrix_floats(job);
    v.sums = v.panels + panel_floats(job);
    v.scales = v.sums + job->sum_floats;
    return v;
}

// scale * b + diagonal * I as a right-hand side.
static void pack(const inverse *v, const float *b, float scale, float diagonal)
{
    v->job->kernels->pack_rows(b, v->ld, v->m, v->m, scale, diagonal, v->panels);
}

// c = a (scale * b + diagonal * I), all of them m x m.
static void multiply(const inverse *v, const float *a, const float *b, float scale, float diagonal,
                     float *c)
{
    sl_packed packed = { v->m, v->m, v->panels };
    pack(v, b, scale, diagonal);
    sl_gemm product = { .a = a, .lda = v->ld, .rows = v->m, .b = &packed, .c = c, .ldc = v->ld };
    v->job->kernels->gemm(&product);
}

// K2, with the ones of its diagonal exact, and its largest row sum.
static float make_kernel(const inverse *v)
{
    const sl_soft_job *job = v->job;
    const float *landmarks = job->landmarks + v->head * job->landmark_floats;
    const float *halves = job->halves + v->head * job->half_floats;
    float *packed = job->packed + v->head * job->packed_floats;
    sl_packed b = { job->m, job->d, packed };
    job->kernels->pack(landmarks, job->d, job->m, job->d, packed);
    sl_gemm product = {
        .a = landmarks, .lda = job->d, .rows = job->m, .b = &b, .c = v->kernel, .ldc = job->ld
    };
    job->kernels->gemm(&product);
    sl_gaussian gaussian = { v->kernel, job->ld, job->m, job->m, 1, halves, halves };
    job->kernels->gaussian(&gaussian);
    double most = 0;
    for (size_t i = 0; i < v->m; i++) {
        float *row = v->kernel + i * v->ld;
        double sum = 0;
        row[i] = 1;
        for (size_t j = 0; j < v->m; j++)
            sum += (double)row[j];
        v->scales[i] = (float)(1 / sqrt(sum));
        most = sum > most ? sum : most;
    }
    return (float)most;
}

// K2 once more, where other heads had its slot since.
static void restore_kernel(const inverse *v)
{
    if (v->job->slots < v->job->heads)
        make_kernel(v);
}

static bool is_norm(const sl_soft_job *job)
{
    return job->call->node->attr.inverse == SL_INVERSE_NORM;
}

// P, which is the kernel, and Z = alpha P. SOFT starts every head by itself.
static void begin(const inverse *v)
{
    float alpha = v->job->alpha;
    if (is_norm(v->job)) {
        restore_kernel(v);
    } else {
        double most = (double)make_kernel(v);
        for (size_t i = 0; i < v->m; i++)
            v->kernel[i * v->ld + i] += RIDGE;
        alpha = (float)(SOFT_START / (most * most));
    }
    for (size_t i = 0; i < v->m; i++)
        for (size_t j = 0; j < v->m; j++)
            v->z[i * v->ld + j] = alpha * v->kernel[i * v->ld + j];
}

static void swap(inverse *v)
{
    float *before = v->z;
    v->z = v->other;
    v->other = before;
}

// Z = 2Z - Z P Z, as Z (2I - P Z). The result is in v->z.
static void iterate(inverse *v)
{
    for (uint32_t i = 0; i < v->job->call->node->attr.iterations; i++) {
        multiply(v, v->kernel, v->z, 1, 0, v->other);
        multiply(v, v->z, v->other, -1, 2, v->other); // packed before it is overwritten
        swap(v);
    }
}

static void scale_rows(const inverse *v, float *x)
{
    for (size_t i = 0; i < v->m; i++)
        for (size_t c = 0; c < v->job->d; c++)
            x[i * v->job->d + c] *= v->scales[i];
}

// The groups' K1^T V, added up in their order.
static void add_groups(const inverse *v)
{
    const sl_soft_job *job = v->job;
    const float *from = job->sums + v->head * job->groups * job->sum_floats;
    memcpy(v->sums, from, job->m * job->d * sizeof(float));
    for (size_t g = 1; g < job->groups; g++) {
        from += job->sum_floats;
        for (size_t i = 0; i < job->m * job->d; i++)
            v->sums[i] += from[i];
    }
}

// inverse(K2) K1^T V, packed for the products with K1.
static void finish(const inverse *v)
{
    const sl_soft_job *job = v->job;
    const sl_kernels *kernels = job->kernels;
    sl_packed b = { job->d, job->m, v->panels };
    add_groups(v);
    if (is_norm(job))
        scale_rows(v, v->sums);
    kernels->pack_rows(v->sums, job->d, job->d, job->m, 1, 0, v->panels);
    sl_gemm product = {
        .a = v->z, .lda = v->ld, .rows = v->m, .b = &b, .c = v->sums, .ldc = job->d
    };
    kernels->gemm(&product);
    if (is_norm(job))
        scale_rows(v, v->sums);
    kernels->pack_rows(v->sums, job->d, job->d, job->m, 1, 0,
                       job->products + v->head * job->product_floats);
}

// ---- many heads: every one by itself

static void whole_task(void *arg, size_t head, unsigned worker)
{
    const sl_soft_job *job = arg;
    inverse v = open_slot(job, head, worker);
    begin(&v);
    iterate(&v);
    finish(&v);
}

// ---- fewer heads than workers, large matrices: all go through one product after the other

typedef struct shared_run {
    const sl_soft_job *job;
    sl_gemm_grid grid;    // of one head's product
    uint32_t done, count; // products: two in an iteration
} shared_run;

static inverse open_shared(const shared_run *r, size_t head)
{
    inverse v = open_slot(r->job, head, 0); // each head has a slot of its own
    if (r->done / 2 % 2)
        swap(&v);
    return v;
}

static void between_products(void *arg, size_t head, unsigned worker)
{
    const shared_run *r = arg;
    inverse v = open_shared(r, head);
    (void)worker;
    if (r->done == 0)
        begin(&v);
    if (r->done == r->count)
        finish(&v);
    else if (r->done % 2)
        pack(&v, v.other, -1, 2);
    else
        pack(&v, v.z, 1, 0);
}

static void product_task(void *arg, size_t task, unsigned worker)
{
    const shared_run *r = arg;
    inverse v = open_shared(r, task % r->job->heads);
    sl_packed packed = { v.m, v.m, v.panels };
    sl_gemm product = {
        .a = r->done % 2 ? v.z : v.kernel, .lda = v.ld, .b = &packed, .c = v.other, .ldc = v.ld
    };
    (void)worker;
    sl_cpu_grid_part(&r->grid, task / r->job->heads, &product);
    r->job->kernels->gemm(&product);
}

static void invert_together(const sl_soft_job *job, unsigned workers)
{
    sl_packed square = { .n = job->m, .k = job->m };
    shared_run r = { .job = job,
                     .grid = sl_cpu_grid(job->kernels, &square, job->m, workers),
                     .count = 2 * job->call->node->attr.iterations };
    sl_pool_run(job->call->pool, between_products, &r, job->heads);
    while (r.done < r.count) {
        sl_pool_run(job->call->pool, product_task, &r, job->heads * sl_cpu_grid_parts(&r.grid));
        r.done++;
        sl_pool_run(job->call->pool, between_products, &r, job->heads);
    }
}

// ---- SOFT-Norm: all heads start alike

static void measure_task(void *arg, size_t head, unsigned worker)
{
    const sl_soft_job *job = arg;
    inverse v = open_slot(job, head, worker);
    job->row_sums[head] = make_kernel(&v);
}

// The largest column sum of |I - alpha S| for every alpha in question, where S = K2 K2. sums: [m].
static void find_residuals(const inverse *v, const float *s, float *sums, float *residuals)
{
    float alpha = v->job->alpha;
    for (unsigned t = 0; t < SL_SOFT_STARTS; t++, alpha *= 0.5f) {
        memset(sums, 0, v->m * sizeof(float));
        for (size_t i = 0; i < v->m; i++) {
            const float *row = s + i * v->ld;
            for (size_t j = 0; j < i; j++)
                sums[j] += fabsf(alpha * row[j]);
            sums[i] += fabsf(1 - alpha * row[i]);
            for (size_t j = i + 1; j < v->m; j++)
                sums[j] += fabsf(alpha * row[j]);
        }
        float most = 0;
        for (size_t j = 0; j < v->m; j++)
            most = sums[j] > most ? sums[j] : most;
        residuals[t] = most;
    }
}

static void residual_task(void *arg, size_t head, unsigned worker)
{
    const sl_soft_job *job = arg;
    inverse v = open_slot(job, head, worker);
    restore_kernel(&v);
    multiply(&v, v.kernel, v.kernel, 1, 0, v.other);
    find_residuals(&v, v.other, v.z, job->residuals + head * SL_SOFT_STARTS);
}

static float largest(const float *x, size_t count, size_t step)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = x[i * step] > most ? x[i * step] : most;
    return most;
}

static void start_norm(sl_soft_job *job)
{
    sl_pool *pool = job->call->pool;
    sl_pool_run(pool, measure_task, job, job->heads);
    double most = (double)largest(job->row_sums, job->heads, 1);
    job->alpha = (float)(NORM_START / (most * most));
    sl_pool_run(pool, residual_task, job, job->heads);
    for (unsigned t = 0; t + 1 < SL_SOFT_STARTS; t++) {
        if (!(largest(job->residuals + t, job->heads, SL_SOFT_STARTS) > LARGEST_RESIDUAL))
            return;
        job->alpha *= 0.5f;
    }
}

void sl_soft_invert(sl_soft_job *job)
{
    unsigned workers = sl_pool_size(job->call->pool);
    if (is_norm(job))
        start_norm(job);
    if (job->heads < workers && job->m >= TOGETHER_MIN)
        invert_together(job, workers);
    else
        sl_pool_run(job->call->pool, whole_task, job, job->heads);
}
