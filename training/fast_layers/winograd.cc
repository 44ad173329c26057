// 3x3 convolutions and their gradients with a quarter of the multiplications, as operations of TensorFlow.
//
// Winograd's F(4x4, 3x3) as Lavin and Gray (2016, "Fast Algorithms for Convolutional Neural Networks", section 4.3)
// give it: a 4x4 tile of the output Y follows from the 6x6 tile d of the input around it and the 3x3 kernel g as
//
//   Y = At [(G g Gt) * (Bt d B)] A        and the kernel's gradient is        Gt [sum of (Bt d B) * (A dY At)] G
//
// with 36 products where the definition has 144. Summed over channels these are 36 independent matrix products, here
// of V = Bt d B (tiles x channels) with U = G g Gt (channels x filters).
//
// A thread transforms a block of tiles, multiplies and transforms back before it takes the next, so that what lies
// between stays in its caches. All arrays hold channels in lanes, as many as a register of AVX-512 or AVX2 takes:
//
//   V, M  [channels / lanes][36][tiles + 1][lanes]   a block of tiles; one more keeps neighbours out of one cache set
//   U     [36][filters / (2 lanes)][channels][2 lanes]

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

#ifdef __AVX512F__  // 32 registers of 16 floats
constexpr int LANES = 16;   // channels in a register
constexpr int ROWS = 14;    // tiles that a forward product keeps in registers
constexpr int COLUMNS = 8;  // channels that a gradient's product keeps in registers
#else  // AVX2: 16 registers of 8 floats
constexpr int LANES = 8;
constexpr int ROWS = 6;
constexpr int COLUMNS = 4;
#endif
constexpr int FILTERS = 2 * LANES;   // that a product takes at once
constexpr int POINTS = 36;           // of the 6x6 tile
constexpr int GROUP = 32;            // channels are a multiple of it
constexpr int AHEAD = 512;           // floats of U that are fetched before they are needed
constexpr int GRADIENT_TILES = 112;  // in a block of a gradient's product

typedef float Lane __attribute__((vector_size(LANES * sizeof(float))));

inline Lane load(const float* from) {
  Lane value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline void store(float* to, Lane value) { std::memcpy(to, &value, sizeof value); }

// The three transforms of one row or column of a tile.

inline void input_row(const Lane* d, Lane* v) {  // Bt d: 6 -> 6
  const Lane even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
  const Lane narrow = d[4] - d[2], twice = 2.0f * (d[3] - d[1]);
  v[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = narrow + twice;
  v[4] = narrow - twice;
  v[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
}

inline void output_row(const Lane* m, Lane* y) {  // At m: 6 -> 4
  const Lane sum = m[1] + m[2], difference = m[1] - m[2], outer_sum = m[3] + m[4], outer_difference = m[3] - m[4];
  y[0] = m[0] + sum + outer_sum;
  y[1] = difference + 2.0f * outer_difference;
  y[2] = sum + 4.0f * outer_sum;
  y[3] = difference + 8.0f * outer_difference + m[5];
}

inline void upstream_row(const Lane* y, Lane* m) {  // A y: 4 -> 6
  const Lane even = y[0] + y[2], odd = y[1] + y[3];
  const Lane wide_even = y[0] + 4.0f * y[2], wide_odd = 2.0f * y[1] + 8.0f * y[3];
  m[0] = y[0];
  m[1] = even + odd;
  m[2] = even - odd;
  m[3] = wide_even + wide_odd;
  m[4] = wide_even - wide_odd;
  m[5] = y[3];
}

inline void kernel_row(const Lane* g, Lane* u) {  // G g: 3 -> 6
  const Lane sum = g[0] + g[2], wide = g[0] + 4.0f * g[2];
  u[0] = 0.25f * g[0];
  u[1] = (-1.0f / 6) * (sum + g[1]);
  u[2] = (-1.0f / 6) * (sum - g[1]);
  u[3] = (1.0f / 24) * (wide + 2.0f * g[1]);
  u[4] = (1.0f / 24) * (wide - 2.0f * g[1]);
  u[5] = g[2];
}

inline void kernel_gradient_row(const Lane* u, Lane* g) {  // Gt u: 6 -> 3
  const Lane sum = (-1.0f / 6) * (u[1] + u[2]), outer_sum = (1.0f / 24) * (u[3] + u[4]);
  g[0] = 0.25f * u[0] + sum + outer_sum;
  g[1] = (-1.0f / 6) * (u[1] - u[2]) + (1.0f / 12) * (u[3] - u[4]);
  g[2] = sum + 4.0f * outer_sum + u[5];
}

// Rows, then columns: an IN x IN tile, row by row, to an OUT x OUT one.
template <int IN, int OUT>
inline void both_ways(void (*one)(const Lane*, Lane*), const Lane* from, Lane* to) {
  Lane half[OUT * IN], column[IN], out[OUT];
#pragma GCC unroll 6
  for (int x = 0; x < IN; ++x) {
#pragma GCC unroll 6
    for (int y = 0; y < IN; ++y) column[y] = from[y * IN + x];
    one(column, out);
#pragma GCC unroll 6
    for (int y = 0; y < OUT; ++y) half[y * IN + x] = out[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < OUT; ++y) one(half + y * IN, to + y * OUT);
}

struct Picture {
  int count, height, width, channels;
  int tiles_down() const { return (height + 3) / 4; }
  int tiles_across() const { return (width + 3) / 4; }
  int64_t tiles() const { return int64_t(count) * tiles_down() * tiles_across(); }
};

// Where a tile is: its picture's first value, and the top left pixel of its output.
struct Place {
  int64_t offset;
  int top, left;
  Place(const Picture& p, int64_t tile) {
    const int across = p.tiles_across(), each = p.tiles_down() * across;
    const int within = tile % each;
    offset = tile / each * p.height * p.width * p.channels;
    top = 4 * (within / across);
    left = 4 * (within % across);
  }
};

// SIZE x SIZE pixels from (top, left), a lane of channels of each; zero beyond the edges.
template <int SIZE>
inline void gather(const Picture& p, const float* picture, int top, int left, Lane* tile) {
  if (top >= 0 && left >= 0 && top + SIZE <= p.height && left + SIZE <= p.width) {
    const float* from = picture + (int64_t(top) * p.width + left) * p.channels;
#pragma GCC unroll 6
    for (int y = 0; y < SIZE; ++y)
#pragma GCC unroll 6
      for (int x = 0; x < SIZE; ++x) tile[y * SIZE + x] = load(from + (int64_t(y) * p.width + x) * p.channels);
    return;
  }
  for (int y = 0; y < SIZE; ++y)
    for (int x = 0; x < SIZE; ++x) {
      const int row = top + y, column = left + x;
      const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
      tile[y * SIZE + x] = inside ? load(picture + (int64_t(row) * p.width + column) * p.channels) : Lane{};
    }
}

// A block of tiles transformed for the products: V of an input (6x6 in), or A dY At of an upstream gradient (4x4 in).
template <int SIZE>
void transform(const Picture& p, const float* values, int64_t first, int tiles, int stride, float* block) {
  for (int t = 0; t < tiles; ++t) {
    const Place place(p, first + t);
    const int edge = SIZE == 6 ? 1 : 0;
    for (int c = 0; c < p.channels; c += LANES) {
      Lane tile[SIZE * SIZE], points[POINTS];
      gather<SIZE>(p, values + place.offset + c, place.top - edge, place.left - edge, tile);
      both_ways<SIZE, 6>(SIZE == 6 ? input_row : upstream_row, tile, points);
      float* to = block + (int64_t(c) * POINTS * stride) + t * LANES;
#pragma GCC unroll 36
      for (int i = 0; i < POINTS; ++i) store(to + i * stride * LANES, points[i]);
    }
  }
}

// A block of products transformed back, into the pixels of the output that exist.
void transform_back(const Picture& p, const float* block, int64_t first, int tiles, int stride, float* values) {
  for (int t = 0; t < tiles; ++t) {
    const Place place(p, first + t);
    for (int c = 0; c < p.channels; c += LANES) {
      Lane points[POINTS], tile[16];
      const float* from = block + (int64_t(c) * POINTS * stride) + t * LANES;
#pragma GCC unroll 36
      for (int i = 0; i < POINTS; ++i) points[i] = load(from + i * stride * LANES);
      both_ways<6, 4>(output_row, points, tile);
      for (int y = 0; y < std::min(4, p.height - place.top); ++y)
        for (int x = 0; x < std::min(4, p.width - place.left); ++x)
          store(values + place.offset + (int64_t(place.top + y) * p.width + place.left + x) * p.channels + c,
                tile[y * 4 + x]);
    }
  }
}

// ROWS tiles (v) times FILTERS filters (u), summed over the channels, for one point.
inline void product(const float* v, const float* u, float* m, int channels, int64_t step) {
  Lane sums[ROWS][2] = {};
  for (int c = 0; c < channels; c += LANES, v += step) {
    for (int lane = 0; lane < LANES; ++lane, u += FILTERS) {
      __builtin_prefetch(u + AHEAD);
      if (LANES == 16) __builtin_prefetch(u + AHEAD + LANES);  // else it is the same cache line
      const Lane left = load(u), right = load(u + LANES);
#pragma GCC unroll 14
      for (int row = 0; row < ROWS; ++row) {
        const float value = v[row * LANES + lane];
        sums[row][0] += value * left;
        sums[row][1] += value * right;
      }
    }
  }
#pragma GCC unroll 14
  for (int row = 0; row < ROWS; ++row) {
    store(m + row * LANES, sums[row][0]);
    store(m + step + row * LANES, sums[row][1]);
  }
}

// COLUMNS channels (v) times FILTERS filters (d), summed over the tiles, added to u.
inline void outer_product(const float* v, const float* d, float* u, int tiles, int64_t step) {
  Lane sums[COLUMNS][2];
#pragma GCC unroll 8
  for (int c = 0; c < COLUMNS; ++c) {
    sums[c][0] = load(u + c * FILTERS);
    sums[c][1] = load(u + c * FILTERS + LANES);
  }
  for (int t = 0; t < tiles; ++t, v += LANES, d += LANES) {
    const Lane left = load(d), right = load(d + step);
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; ++c) {
      sums[c][0] += v[c] * left;
      sums[c][1] += v[c] * right;
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < COLUMNS; ++c) {
    store(u + c * FILTERS, sums[c][0]);
    store(u + c * FILTERS + LANES, sums[c][1]);
  }
}

// Memory that a thread keeps from call to call, in pages as large as there are.
class Scratch {
 public:
  float* at_least(int64_t floats) {
    if (size_ < floats) {
      std::free(memory_);
      const size_t pages = floats * sizeof(float) / HUGE_PAGE + 1;
      memory_ = static_cast<float*>(std::aligned_alloc(HUGE_PAGE, pages * HUGE_PAGE));
      if (!memory_) throw std::bad_alloc();
      madvise(memory_, floats * sizeof(float), MADV_HUGEPAGE);
      std::fill_n(memory_, floats, 0.0f);
      size_ = floats;
    }
    return memory_;
  }
  ~Scratch() { std::free(memory_); }

 private:
  static constexpr size_t HUGE_PAGE = 1 << 21;
  float* memory_ = nullptr;
  int64_t size_ = 0;
};
thread_local Scratch scratch[2];

// `work(share, start, end)` for shares of [0, total), one a thread.
template <typename Work>
void in_parallel(OpKernelContext* context, int64_t total, Work work) {
  auto* threads = context->device()->tensorflow_cpu_worker_threads();
  const int64_t shares = std::min<int64_t>(threads->num_threads, total);
  using tsl::thread::ThreadPool;
  const ThreadPool::SchedulingParams one_each(ThreadPool::SchedulingStrategy::kFixedBlockSize, std::nullopt, 1);
  threads->workers->ParallelFor(shares, one_each, [&](int64_t first, int64_t last) {
    for (int64_t share = first; share < last; ++share)
      work(share, share * total / shares, (share + 1) * total / shares);
  });
}

int64_t place_in_u(int64_t point, int64_t channel, int64_t filter, int64_t channels, int64_t filters) {
  return ((point * (filters / FILTERS) + filter / FILTERS) * channels + channel) * FILTERS + filter % FILTERS;
}

Picture picture(const Tensor& values) {
  return {int(values.dim_size(0)), int(values.dim_size(1)), int(values.dim_size(2)), int(values.dim_size(3))};
}

// Tiles in a block of a forward product, a multiple of ROWS: what they transform to should fit half of a 2 MB cache,
// but each block reads all of U, so that few are too few.
int forward_tiles(int channels) {
  const int fitting = (1 << 20) / int(sizeof(float)) / POINTS / channels;
  return std::clamp(fitting, 28, 112) / ROWS * ROWS;
}

bool fits(int channels, int filters) { return channels % GROUP == 0 && filters % GROUP == 0; }

class Convolution : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &kernel = context->input(1);
    OP_REQUIRES(context, images.dims() == 4 && kernel.dims() == 4,
                absl::InvalidArgumentError("images and kernel: expected four dimensions each"));
    const Picture in = picture(images);
    const int filters = kernel.dim_size(3);
    OP_REQUIRES(context, fits(in.channels, filters) && kernel.shape() == TensorShape({3, 3, in.channels, filters}),
                absl::InvalidArgumentError("kernel: expected 3 x 3, the channels of images, multiples of 32"));
    const Picture out = {in.count, in.height, in.width, filters};
    Tensor *output, points;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({in.count, in.height, in.width, filters}), &output));
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_FLOAT,
                                                   TensorShape({POINTS, in.channels, filters}), &points));
    const float* x = images.flat<float>().data();
    const float* g = kernel.flat<float>().data();
    float* u = points.flat<float>().data();
    float* y = output->flat<float>().data();

    in_parallel(context, in.channels, [&](int, int64_t start, int64_t end) {
      for (int64_t c = start; c < end; ++c)
        for (int k = 0; k < filters; k += LANES) {
          Lane taps[9], transformed[POINTS];
          for (int i = 0; i < 9; ++i) taps[i] = load(g + (i * in.channels + c) * filters + k);
          both_ways<3, 6>(kernel_row, taps, transformed);
          for (int i = 0; i < POINTS; ++i)
            store(u + place_in_u(i, c, k, in.channels, filters), transformed[i]);
        }
    });

    const int most = forward_tiles(in.channels + filters), stride = most + 1;
    const int64_t step = int64_t(POINTS) * stride * LANES;
    in_parallel(context, in.tiles(), [&](int, int64_t start, int64_t end) {
      float* v = scratch[0].at_least(in.channels / LANES * step);
      float* m = scratch[1].at_least(filters / LANES * step);
      for (int64_t first = start; first < end; first += most) {
        const int tiles = std::min<int64_t>(most, end - first);
        transform<6>(in, x, first, tiles, stride, v);
        for (int i = 0; i < POINTS; ++i)
          for (int k = 0; k < filters; k += FILTERS)
            for (int t = 0; t < tiles; t += ROWS) {
              const int64_t at = (int64_t(i) * stride + t) * LANES;
              product(v + at, u + place_in_u(i, 0, k, in.channels, filters), m + k / LANES * step + at, in.channels,
                      step);
            }
        transform_back(out, m, first, tiles, stride, y);
      }
    });
  }
};

class KernelGradient : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &images = context->input(0), &upstream = context->input(1);
    OP_REQUIRES(context, images.dims() == 4 && upstream.dims() == 4,
                absl::InvalidArgumentError("images and upstream: expected four dimensions each"));
    const Picture in = picture(images), out = picture(upstream);
    const int filters = out.channels;
    const bool same_size = in.count == out.count && in.height == out.height && in.width == out.width;
    OP_REQUIRES(context, fits(in.channels, filters) && same_size,
                absl::InvalidArgumentError("upstream: expected the size of images, channels in multiples of 32"));
    const int shares = context->device()->tensorflow_cpu_worker_threads()->num_threads;
    const int64_t size = int64_t(POINTS) * in.channels * filters;
    Tensor *output, points;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({3, 3, in.channels, filters}), &output));
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_FLOAT, TensorShape({shares, size}), &points));
    const float* x = images.flat<float>().data();
    const float* dy = upstream.flat<float>().data();
    float* u = points.flat<float>().data();
    float* dg = output->flat<float>().data();

    const int stride = GRADIENT_TILES + 1;
    const int64_t step = int64_t(POINTS) * stride * LANES;
    std::fill_n(u, shares * size, 0.0f);
    in_parallel(context, in.tiles(), [&](int share, int64_t start, int64_t end) {
      float* v = scratch[0].at_least(in.channels / LANES * step);
      float* d = scratch[1].at_least(filters / LANES * step);
      float* sum = u + share * size;
      for (int64_t first = start; first < end; first += GRADIENT_TILES) {
        const int tiles = std::min<int64_t>(GRADIENT_TILES, end - first);
        transform<6>(in, x, first, tiles, stride, v);
        transform<4>(out, dy, first, tiles, stride, d);
        for (int i = 0; i < POINTS; ++i)
          for (int k = 0; k < filters; k += FILTERS)
            for (int c = 0; c < in.channels; c += COLUMNS)
              outer_product(v + c / LANES * step + int64_t(i) * stride * LANES + c % LANES,
                            d + k / LANES * step + int64_t(i) * stride * LANES,
                            sum + place_in_u(i, c, k, in.channels, filters), tiles, step);
      }
    });

    in_parallel(context, in.channels, [&](int, int64_t start, int64_t end) {
      for (int64_t c = start; c < end; ++c)
        for (int k = 0; k < filters; k += LANES) {
          Lane summed[POINTS] = {}, taps[9];
          for (int share = 0; share < shares; ++share)
            for (int i = 0; i < POINTS; ++i)
              summed[i] += load(u + share * size + place_in_u(i, c, k, in.channels, filters));
          both_ways<6, 3>(kernel_gradient_row, summed, taps);
          for (int i = 0; i < 9; ++i) store(dg + (i * in.channels + c) * filters + k, taps[i]);
        }
    });
  }
};

using tensorflow::shape_inference::InferenceContext;

REGISTER_OP("WinogradConvolution")
    .Input("images: float")
    .Input("kernel: float")
    .Output("output: float")
    .SetShapeFn([](InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle images, kernel, shape;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &images));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &kernel));
      TF_RETURN_IF_ERROR(c->ReplaceDim(images, 3, c->Dim(kernel, 3), &shape));
      c->set_output(0, shape);
      return absl::OkStatus();
    });
REGISTER_OP("WinogradKernelGradient")
    .Input("images: float")
    .Input("upstream: float")
    .Output("gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle images, upstream;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &images));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &upstream));
      c->set_output(0, c->MakeShape({3, 3, c->Dim(images, 3), c->Dim(upstream, 3)}));
      return absl::OkStatus();
    });
REGISTER_KERNEL_BUILDER(Name("WinogradConvolution").Device(tensorflow::DEVICE_CPU), Convolution);
REGISTER_KERNEL_BUILDER(Name("WinogradKernelGradient").Device(tensorflow::DEVICE_CPU), KernelGradient);

}  // namespace
