// Runs an exported generator without Python, as TensorFlow Serving would: loads a
// SavedModel and calls its signature "serving_default" on requests read from a file.
//
//   saved_model_runner MODEL REQUESTS IMAGES
//
// Numbers are of this machine's byte order. REQUESTS holds, until its end, requests of
//   int32 N, Z, T; float psi; float z[N][Z]; float labels[N][T]    (T = 0: no labels)
// and IMAGES receives for each request
//   int32 N, H, W, C; uint8 images[N][H][W][C]
// Each request is run twice: the second time is the one that is printed, and its images
// must equal the first ones.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

namespace {

using tensorflow::SignatureDef;
using tensorflow::Tensor;
using Feeds = std::vector<std::pair<std::string, Tensor>>;

[[noreturn]] void Fail(const std::string& message) {
  std::cerr << "error: " << message << std::endl;
  std::exit(1);
}

void Check(const absl::Status& status) {
  if (!status.ok()) Fail(std::string(status.message()));
}

// The graph's name for an input or output of the signature.
std::string TensorName(
    const google::protobuf::Map<std::string, tensorflow::TensorInfo>& side,
    const std::string& key) {
  const auto found = side.find(key);
  if (found == side.end()) Fail("the signature has no " + key);
  return found->second.name();
}

Tensor ReadMatrix(std::ifstream& file, int rows, int columns) {
  Tensor matrix(tensorflow::DT_FLOAT, {rows, columns});
  file.read(reinterpret_cast<char*>(matrix.flat<float>().data()),
            matrix.TotalBytes());
  return matrix;
}

// The next request; false at the end of the file.
bool ReadRequest(std::ifstream& file, const SignatureDef& signature, Feeds* feeds) {
  int32_t sizes[3];
  if (!file.read(reinterpret_cast<char*>(sizes), sizeof(sizes))) return false;
  const auto [count, z_dim, label_dim] = sizes;
  if ((label_dim > 0) != signature.inputs().contains("labels")) {
    Fail("labels must be given if and only if the signature has them");
  }
  Tensor psi(tensorflow::DT_FLOAT, {});
  file.read(reinterpret_cast<char*>(psi.flat<float>().data()), psi.TotalBytes());
  feeds->clear();
  feeds->emplace_back(TensorName(signature.inputs(), "truncation_psi"), psi);
  feeds->emplace_back(TensorName(signature.inputs(), "z"),
                      ReadMatrix(file, count, z_dim));
  if (label_dim > 0) {
    feeds->emplace_back(TensorName(signature.inputs(), "labels"),
                        ReadMatrix(file, count, label_dim));
  }
  if (!file) Fail("the file of requests ends within a request");
  return true;
}

Tensor Run(tensorflow::Session* session, const Feeds& feeds, const std::string& fetch) {
  std::vector<Tensor> outputs;
  Check(session->Run(feeds, {fetch}, {}, &outputs));
  if (outputs[0].dtype() != tensorflow::DT_UINT8 || outputs[0].dims() != 4) {
    Fail("images must be uint8 [N, H, W, C]; got " + outputs[0].DebugString());
  }
  return outputs[0];
}

void WriteImages(std::ofstream& file, const Tensor& images) {
  for (int axis = 0; axis < 4; ++axis) {
    const int32_t size = images.dim_size(axis);
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  }
  file.write(reinterpret_cast<const char*>(images.flat<uint8_t>().data()),
             images.TotalBytes());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) Fail("usage: saved_model_runner MODEL REQUESTS IMAGES");
  std::ifstream requests(argv[2], std::ios::binary);
  if (!requests) Fail(std::string("cannot read ") + argv[2]);
  std::ofstream answers(argv[3], std::ios::binary);

  tensorflow::SavedModelBundle bundle;
  Check(tensorflow::LoadSavedModel(tensorflow::SessionOptions(),
                                   tensorflow::RunOptions(), argv[1],
                                   {"serve"}, &bundle));
  const auto& signatures = bundle.meta_graph_def.signature_def();
  const auto found = signatures.find("serving_default");
  if (found == signatures.end()) Fail("there is no signature serving_default");
  const SignatureDef& signature = found->second;
  const std::string fetch = TensorName(signature.outputs(), "images");

  Feeds feeds;
  while (ReadRequest(requests, signature, &feeds)) {
    const Tensor first = Run(bundle.GetSession(), feeds, fetch);
    const auto start = std::chrono::steady_clock::now();
    const Tensor images = Run(bundle.GetSession(), feeds, fetch);
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    if (first.tensor_data() != images.tensor_data()) {
      Fail("the same request gave other images the second time");
    }
    WriteImages(answers, images);
    std::printf("%lld images: %.2f ms\n",
                static_cast<long long>(images.dim_size(0)), elapsed.count());
  }
  answers.close();
  if (!answers) Fail(std::string("cannot write ") + argv[3]);
}
