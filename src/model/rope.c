/* SPDX-License-Identifier: Apache-2.0 */
#include "model/rope.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/scope.h"

static const double pi = 3.14159265358979323846;

static const struct kind_row {
    const char *name;
    enum tw_rope_kind kind;
} kind_rows[] = {
    {"default", TW_ROPE_PLAIN},
    {"linear", TW_ROPE_LINEAR},
    {"llama3", TW_ROPE_LLAMA3},
    {"yarn", TW_ROPE_YARN},
};

static enum tw_rope_kind read_kind(tw_json_obj *r)
{
    const char *key = tw_json_get(r, "rope_type") != NULL ? "rope_type" : "type";
    const char *name = tw_json_text(r, key, "default");
    for (size_t i = 0; i < TW_ARRAY_LEN(kind_rows); i++)
        if (strcmp(name, kind_rows[i].name) == 0)
            return kind_rows[i].kind;
    tw_json_refuse(r, key, "one of default, linear, llama3, yarn");
    return TW_ROPE_PLAIN;
}

double tw_rope_yarn_scale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * tw_ln(factor) + 1;
}

/* A zero means the default too, as in the reference implementation. */
static double f64_or(tw_json_obj *r, const char *key, double def)
{
    double d = tw_json_f64(r, key, def, 0, 1e9);
    return d > 0 ? d : def;
}

static void read_yarn(tw_json_obj *r, uint32_t max_ctx, tw_rope_config *c)
{
    double implied = (double)max_ctx / (double)c->original_ctx;
    c->factor = tw_json_f64(r, "factor", TW_MAX(implied, 1), 1, 1e6);
    c->beta_fast = f64_or(r, "beta_fast", 32);
    c->beta_slow = f64_or(r, "beta_slow", 1);
    c->truncate = tw_json_bool(r, "truncate", true);
    double m = tw_json_f64(r, "mscale", 0, 0, 1e6);
    double m_all = tw_json_f64(r, "mscale_all_dim", 0, 0, 1e6);
    double def = m > 0 && m_all > 0
                     ? tw_rope_yarn_scale(c->factor, m) / tw_rope_yarn_scale(c->factor, m_all)
                     : tw_rope_yarn_scale(c->factor, 1);
    c->attention_factor = tw_json_f64(r, "attention_factor", def, 1e-6, 1e6);
}

static void read_llama3(tw_json_obj *r, tw_rope_config *c)
{
    c->factor = tw_json_f64_needed(r, "factor", 1, 1e6);
    c->low_freq_factor = tw_json_f64_needed(r, "low_freq_factor", 1e-6, 1e6);
    c->high_freq_factor = tw_json_f64_needed(r, "high_freq_factor", 1e-6, 1e6);
    if (c->high_freq_factor <= c->low_freq_factor)
        tw_json_refuse(r, "high_freq_factor", "more than low_freq_factor");
}

static void read_scaling(tw_json_obj *o, tw_json_obj *r, uint32_t max_ctx, tw_rope_config *c)
{
    const char *key = "original_max_position_embeddings";
    c->kind = read_kind(r);
    if (c->kind == TW_ROPE_LINEAR)
        c->factor = tw_json_f64_needed(r, "factor", 1, 1e6);
    if (c->kind != TW_ROPE_LLAMA3 && c->kind != TW_ROPE_YARN)
        return;
    /* the key at the top wins over the one inside, as in the reference implementation */
    uint64_t inside = tw_json_u64(r, key, max_ctx, 1, 1u << 30);
    c->original_ctx = (uint32_t)tw_json_u64(o, key, inside, 1, 1u << 30);
    if (c->kind == TW_ROPE_YARN)
        read_yarn(r, max_ctx, c);
    else
        read_llama3(r, c);
}

static void refuse_partial(tw_json_obj *o)
{
    const json_t *v = tw_json_get(o, "partial_rotary_factor");
    if (v != NULL && (!json_is_number(v) || json_number_value(v) < 1 || json_number_value(v) > 1))
        tw_json_refuse(o, "partial_rotary_factor", "1 (rope over part of a head is not supported)");
}

/* Parameters for each kind of layer: {"full_attention": {...}, ...}. */
static bool is_nested(const json_t *v)
{
    for (void *it = json_object_iter((json_t *)(uintptr_t)v); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)v, it))
        if (json_is_object(json_object_iter_value(it)))
            return true;
    return false;
}

void tw_rope_config_read(tw_json_obj *o, uint32_t max_ctx, tw_rope_config *ret)
{
    tw_rope_config c = {.kind = TW_ROPE_PLAIN, .factor = 1, .attention_factor = 1};
    c.theta = tw_json_f64(o, "rope_theta", 10000, 1.0001, 1e12);
    refuse_partial(o);
    const char *key = tw_json_get(o, "rope_scaling") != NULL ? "rope_scaling" : "rope_parameters";
    const json_t *v = tw_json_get(o, key);
    if (v != NULL && (!json_is_object(v) || is_nested(v))) {
        tw_json_refuse(o, key, "one object of rope parameters for all layers");
    } else if (v != NULL) {
        tw_json_obj r = {.file = o->file, .v = v, .rc = o->rc, .err = o->err};
        r.prefix = key[5] == 's' ? "rope_scaling." : "rope_parameters.";
        c.theta = tw_json_f64(&r, "rope_theta", c.theta, 1.0001, 1e12);
        refuse_partial(&r);
        read_scaling(o, &r, max_ctx, &c);
        if (o->rc == 0)
            o->rc = r.rc;
    }
    *ret = c;
}

/* All in f32 step by step where the reference implementation computes in f32. */
static void scale_llama3(const tw_rope_config *r, float *f, uint32_t n)
{
    float old = (float)r->original_ctx, low = (float)r->low_freq_factor;
    float low_wave = (float)((double)r->original_ctx / r->low_freq_factor);
    float high_wave = (float)((double)r->original_ctx / r->high_freq_factor);
    float span = (float)(r->high_freq_factor - r->low_freq_factor), factor = (float)r->factor;
    for (uint32_t i = 0; i < n; i++) {
        float wave = (float)(2 * pi) / f[i];
        if (wave > low_wave) {
            f[i] = f[i] / factor;
        } else if (wave >= high_wave) {
            float smooth = (old / wave - low) / span;
            f[i] = (1.0f - smooth) * f[i] / factor + smooth * f[i];
        }
    }
}

static double correction_dim(const tw_rope_config *r, double n_rotations, double dim)
{
    double x = (double)r->original_ctx / (n_rotations * 2 * pi);
    return dim * tw_ln(x) / (2 * tw_ln(r->theta));
}

/* f holds theta^(2i/Q) here, not its inverse. */
static void scale_yarn(const tw_rope_config *r, float *f, uint32_t n)
{
    double low = correction_dim(r, r->beta_fast, 2.0 * n);
    double high = correction_dim(r, r->beta_slow, 2.0 * n);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = TW_MAX(low, 0);
    high = TW_MIN(high, 2.0 * n - 1);
    double span = high - low;
    if (!(span < 0 || span > 0))
        span = high + 0.001 - low; /* no division by zero */
    for (uint32_t i = 0; i < n; i++) {
        float ramp = ((float)i - (float)low) / (float)span;
        ramp = TW_MIN(TW_MAX(ramp, 0.0f), 1.0f);
        float keep = 1.0f - ramp;
        float extra = 1.0f / f[i], inter = 1.0f / ((float)r->factor * f[i]);
        f[i] = inter * (1.0f - keep) + extra * keep;
    }
}

void tw_rope_freqs(const tw_model_config *c, float *ret_freq, float *ret_scale)
{
    const tw_rope_config *r = &c->rope;
    uint32_t n = c->head_dim / 2;
    for (uint32_t i = 0; i < n; i++) {
        float e = (float)(2 * i) / (float)c->head_dim;
        float p = (float)tw_pow((double)(float)r->theta, (double)e);
        ret_freq[i] = r->kind == TW_ROPE_YARN ? p : 1.0f / p;
    }
    if (r->kind == TW_ROPE_LINEAR)
        for (uint32_t i = 0; i < n; i++)
            ret_freq[i] /= (float)r->factor;
    else if (r->kind == TW_ROPE_LLAMA3)
        scale_llama3(r, ret_freq, n);
    else if (r->kind == TW_ROPE_YARN)
        scale_yarn(r, ret_freq, n);
    else if (r->kind == TW_ROPE_FACTORS)
        for (uint32_t i = 0; i < n; i++)
            ret_freq[i] /= r->divisors[i];
    *ret_scale = (float)r->attention_factor;
}
